/** StreamHouse itself behind the peers' port, for what is measured by the same program on every side. An agent in its own process. */
import type { Producer } from "../../src/producer/producer.ts";
import type { SharedHouse } from "../houses.ts";
import type { Peer } from "./peer.ts";

export interface StreamHouseOptions {
  /** Default: the producer's. */
  readonly lingerMs?: number;
}

export async function openStreamHouse(
  shared: SharedHouse,
  options: StreamHouseOptions = {},
): Promise<Peer> {
  const house = await shared.enter();
  const producer: Producer = house.producer(options);
  return {
    async createTopic(topic, partitions) {
      await house.admin.createTopic(topic, { partitions });
    },
    async sendMany(topic, chunks) {
      await Promise.all(chunks.flat().map((value) => producer.send({ topic, value })));
    },
    sendOne: (topic, value) => producer.send({ topic, value }),
    readAll: () => Promise.reject(new Error("consume.ts measures this")),
    async follow(topic, onValue) {
      const { partitions } = await house.admin.describeTopic(topic);
      const assign = Array.from({ length: partitions }, (_, partition) => ({ topic, partition }));
      const consumer = house.consumer({ assign, offsetReset: "latest" });
      const reading = (async () => {
        for await (const batch of consumer.batches()) {
          for (const { value } of batch) onValue(value ?? new Uint8Array());
        }
      })();
      return async () => {
        await consumer.close();
        await reading;
      };
    },
    async close() {
      await producer.close();
      await shared.leave();
    },
  };
}

/** An agent in a process of its own, over a data folder, that produces as fast as it can and says what was acknowledged. */
import process from "node:process";
import { batchOf } from "../unit/agent/bench-agent.ts";
import { openFolderAgent } from "./folder-agent.ts";

const { agent } = await openFolderAgent(process.argv[2] ?? "");
await agent.api.createTopic({ name: "t", partitions: 1, retentionMs: 0 }, {}).catch(() => {});
const { producerId, producerEpoch } = await agent.api.initProducer(
  { producerId: 0, producerEpoch: 0 },
  {},
);
for (let baseSequence = 0; ; baseSequence++) {
  const stamp = { producerId, producerEpoch, baseSequence };
  const value = `${producerId}:${baseSequence}`;
  const records = batchOf([value], stamp, Date.now());
  const batches = [{ topic: "t", topicId: "", partition: 0, records }];
  const { results } = await agent.api.produce({ acks: 1, timeoutMs: 0, batches }, {});
  process.stdout.write(`${results[0]?.baseOffset} ${value}\n`);
}

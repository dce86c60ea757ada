/**
 * Short turns of work with one variant: records in, or records out. What a turn causes is over when
 * it ends (acknowledged, exported), so that nobody pays for the turn of another.
 */

import type { Consumer } from "../../src/consumer/consumer.ts";
import type { ProducerRecord } from "../../src/core/record.ts";
import type { House } from "../../src/house/house.ts";
import type { Producer } from "../../src/producer/producer.ts";
import { readBatches } from "../consume.ts";
import { sendChunks, sendEach } from "../produce.ts";
import type { BenchSettings } from "../settings.ts";
import { recordChunks, type Workload } from "../workload.ts";
import { type Effort, effortOf } from "./effort.ts";
import { openRig, type Rig, type Way } from "./rig.ts";
import type { Variant } from "./variants.ts";

const WRITTEN = "written";
const READ = "read";
const PARTITIONS = 4;
/** Records of one `sendBatch`. */
const CHUNK = 1_000;
/** Turns' worth of records in the topic that is read. */
const READ_TURNS = 3;

export type Chunks = readonly (readonly ProducerRecord[])[];

/** Sends all of the records and resolves when they are acknowledged. */
export type Send = (producer: Producer, topic: string, chunks: Chunks) => Promise<void>;

export interface SliceOptions {
  readonly way: Way;
  readonly chunks: Chunks;
  /** Records of one turn. */
  readonly records: number;
  readonly send: Send;
  /** Whether turns with records out are wanted. */
  readonly consume: boolean;
  readonly warmUpBatches: number;
}

export function sliceOptions(
  settings: BenchSettings,
  workload: Workload,
  how: { readonly way: Way; readonly via: "sendBatch" | "send" },
): SliceOptions {
  const { way, via } = how;
  const { pairRecords, pairSends, warmUpBatches } = settings.telemetry;
  const records = via === "send" ? pairSends : pairRecords;
  return {
    way,
    records,
    chunks: recordChunks(workload, records, CHUNK),
    send: via === "send" ? sendEach : sendChunks,
    consume: via === "sendBatch",
    warmUpBatches,
  };
}

/**
 * Many batches of one record, each with a request, a flush and a commit of its own: makes the runtime
 * compile what is done once for a batch. A turn has a few of those only, and they would be measured
 * as they are in the first second of a process.
 */
export async function warmUp(variant: Variant, options: SliceOptions): Promise<void> {
  const { way, warmUpBatches } = options;
  const { house, close } = await openRig(way, variant.telemetry);
  try {
    await house.admin.createTopic(WRITTEN, { partitions: 1 });
    const producer = house.producer({ lingerMs: 0 });
    const chunks = [[{ value: "warm" }]];
    const send = variant.send ?? sendEach;
    for (let i = 0; i < warmUpBatches; i++) await send(producer, WRITTEN, chunks);
    const consumer = house.consumer({ group: "warm", topics: [WRITTEN] });
    await readBatches(consumer, warmUpBatches);
    await consumer.close();
    await variant.settle();
  } finally {
    await close();
  }
}

/** A house of one variant, in which turns are taken. */
export class Slices {
  readonly #variant: Variant;
  readonly #options: SliceOptions;
  readonly #rig: Rig;
  readonly #producer: Producer;
  #consumer: Consumer | undefined;
  #hasRead = false;

  private constructor(variant: Variant, options: SliceOptions, rig: Rig) {
    this.#variant = variant;
    this.#options = options;
    this.#rig = rig;
    this.#producer = rig.house.producer();
  }

  static async open(variant: Variant, options: SliceOptions): Promise<Slices> {
    const rig = await openRig(options.way, variant.telemetry);
    const slices = new Slices(variant, options, rig);
    await slices.#prepare(rig.house);
    return slices;
  }

  /** Records of one turn of `consume()`. */
  get recordsRead(): number {
    return this.#options.records * READ_TURNS;
  }

  produce(): Promise<Effort> {
    const send = this.#variant.send ?? this.#options.send;
    return effortOf(async () => {
      await send(this.#producer, WRITTEN, this.#options.chunks);
      await this.#variant.settle();
    });
  }

  /** The topic from its start to its end, by a consumer that has done so before. */
  async consume(): Promise<Effort> {
    this.#consumer ??= this.#rig.house.consumer({ group: "reading", topics: [READ] });
    const consumer = this.#consumer;
    if (this.#hasRead) await consumer.seekToBeginning();
    this.#hasRead = true;
    return await effortOf(async () => {
      await readBatches(consumer, this.recordsRead);
      await this.#variant.settle();
    });
  }

  close(): Promise<void> {
    return this.#rig.close();
  }

  /** Topics are looked up and the producer gets its id: no work of every day. */
  async #prepare(house: House): Promise<void> {
    const { chunks, consume } = this.#options;
    await house.admin.createTopic(WRITTEN, { partitions: PARTITIONS });
    await sendChunks(this.#producer, WRITTEN, chunks);
    if (!consume) return;
    await house.admin.createTopic(READ, { partitions: PARTITIONS });
    for (let i = 0; i < READ_TURNS; i++) await sendChunks(this.#producer, READ, chunks);
  }
}

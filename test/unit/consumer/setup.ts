/** A consumer over a fake agent and a clock that the test owns. */
import assert from "node:assert/strict";
import type { Cluster } from "../../../src/client/cluster.ts";
import {
  type Consumer,
  type ConsumerPorts,
  createConsumer,
} from "../../../src/consumer/consumer.ts";
import type { ConsumerOptions } from "../../../src/consumer/options.ts";
import { type ErrorCode, invalid, StreamHouseError } from "../../../src/core/errors.ts";
import type { LogFields, Logger } from "../../../src/core/logger.ts";
import type { ConsumerRecord } from "../../../src/core/record.ts";
import type { TelemetryOptions } from "../../../src/telemetry/telemetry.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { FakeAgent, unavailable } from "./fake-agent.ts";

export interface Setup {
  readonly agent: FakeAgent;
  readonly clock: ManualClock;
  readonly warnings: { readonly message: string; readonly fields: LogFields | undefined }[];
  /** Set: nobody can be reached. */
  readonly network: { down: boolean };
  open(options?: Partial<ConsumerOptions>, ports?: ConsumerPorts): Consumer;
  /** Runs the clock until the promise is settled. */
  until<T>(promise: Promise<T>): Promise<T>;
}

export function setUp(telemetry: TelemetryOptions | false = false): Setup {
  const clock = new ManualClock();
  const agent = new FakeAgent(clock);
  const warnings: Setup["warnings"] = [];
  const network = { down: false };
  const warn = (message: string, fields?: LogFields) => void warnings.push({ message, fields });
  const logger: Logger = { debug() {}, info() {}, warn, error: warn };
  let seed = 1;
  const context = {
    cluster: fakeCluster(agent, network),
    clock,
    random: (into: Uint8Array<ArrayBuffer>) => into.map(() => (seed = (seed * 31 + 7) % 251)),
    logger,
    clientId: "test",
    telemetry,
  };
  return {
    agent,
    clock,
    warnings,
    network,
    open: (options = {}, ports = {}) => {
      const subscription = options.assign === undefined ? { group: "g", topics: ["t"] } : {};
      return createConsumer(context, { ...subscription, ...options }, ports);
    },
    until: (promise) => clock.until(promise),
  };
}

function fakeCluster(agent: FakeAgent, network: { readonly down: boolean }): Cluster {
  const connection = agent.connection;
  const reach = async () => {
    if (network.down) throw unavailable("no agent answers at fake:1");
    return connection;
  };
  return {
    async topic(name) {
      await reach();
      const topic = agent.topics.get(name);
      if (topic === undefined) throw invalid("TOPIC_NOT_FOUND", `there is no topic ${name}`);
      return topic;
    },
    holder: reach,
    any: reach,
    all: async () => [await reach()],
    note() {},
    async close() {},
  };
}

/** `v0`, `v1` … */
export function values(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, i) => `v${from + i}`);
}

export function texts(records: readonly ConsumerRecord[]): string[] {
  return records.map((it) => it.text());
}

/** Reads record by record until `count` are there, then leaves the loop by `break`. */
export async function take(
  consumer: AsyncIterable<ConsumerRecord>,
  count: number,
): Promise<string[]> {
  const seen: string[] = [];
  for await (const record of consumer) {
    seen.push(record.text());
    if (seen.length === count) break;
  }
  return seen;
}

/** The error that the promise rejects with; it must have this code. */
export async function refused(
  promise: Promise<unknown>,
  code: ErrorCode,
): Promise<StreamHouseError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(StreamHouseError.is(error), `not a StreamHouseError: ${String(error)}`);
    assert.equal(error.code, code, error.message);
    return error;
  }
  return assert.fail(`resolved, expected ${code}`);
}

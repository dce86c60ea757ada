/**
 * What telemetry costs those who do not use it: no timers, no held process, no allocation on the way of a record. That throughput
 * is the same is measured by `npm run bench -- --only telemetry`, because a timing is no test.
 */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { embed } from "../../src/serve/embed.ts";
import type { TelemetryOptions } from "../../src/telemetry/telemetry.ts";
import { Child } from "./child.ts";

const isNode = process.versions.bun === undefined && process.versions.deno === undefined;

/** Produces and consumes some records with everything that a house has. */
async function work(telemetry: TelemetryOptions | false, records: number): Promise<void> {
  const house = await embed({ telemetry });
  try {
    await house.admin.createTopic("orders", { partitions: 2 });
    const producer = house.producer();
    const sent = Array.from({ length: records }, (_, i) =>
      producer.send({ topic: "orders", value: `value ${i}` }),
    );
    await Promise.all(sent);
    const consumer = house.consumer({ group: "billing", topics: ["orders"] });
    let read = 0;
    for await (const batch of consumer.batches()) {
      read += batch.count;
      if (read >= records) break;
    }
    assert.equal(read, records);
  } finally {
    await house.close();
  }
}

type Schedule = (fn: (...args: never[]) => void, ...rest: never[]) => unknown;

/** Who asked for a timer while it is on: the stack at each call of `setTimeout` and `setInterval`. */
class TimerSpy {
  readonly stacks: string[] = [];
  readonly #own = { setTimeout: globalThis.setTimeout, setInterval: globalThis.setInterval };

  start(): void {
    for (const name of ["setTimeout", "setInterval"] as const) {
      const own = this.#own[name] as Schedule;
      const spied: Schedule = (fn, ...rest) => {
        this.stacks.push(new Error(name).stack ?? "");
        return own(fn, ...rest);
      };
      Object.assign(globalThis, { [name]: spied });
    }
  }

  stop(): void {
    Object.assign(globalThis, this.#own);
  }

  /** Timers that were asked for by telemetry's own rooms. */
  get telemetry(): readonly string[] {
    return this.stacks.filter((stack) => /src[\\/]telemetry[\\/]|consumer[\\/]lag/.test(stack));
  }
}

async function timersOf(telemetry: TelemetryOptions | false): Promise<TimerSpy> {
  const spy = new TimerSpy();
  const depth = Error.stackTraceLimit;
  Error.stackTraceLimit = 50;
  spy.start();
  try {
    await work(telemetry, 100);
  } finally {
    spy.stop();
    Error.stackTraceLimit = depth;
  }
  return spy;
}

describe("a house with `telemetry: false`", () => {
  it("starts no timer for telemetry, and asks for no lag", async () => {
    const spy = await timersOf(false);
    assert.ok(spy.stacks.length > 0, "nothing was seen: the spy is blind");
    assert.deepEqual(spy.telemetry, []);
  });

  it("would be seen to start one: without it a component looks for a late SDK, once a second at most", async () => {
    const looks = (await timersOf({})).telemetry.filter((stack) => /provider-link/.test(stack));
    // One each for producer, consumer and agent; a slow machine may need further seconds.
    assert.ok(looks.length >= 3, `${looks.length} looks`);
  });
});

describe("a process without an SDK", () => {
  const child = fileURLToPath(new URL("unmeasured-child.ts", import.meta.url));

  for (const telemetry of ["none", "false"]) {
    it(`ends by itself with components still open (telemetry: ${telemetry})`, async () => {
      const { code, signal, stdout, stderr } = await new Child(child, [telemetry]).finished();
      assert.deepEqual([code, signal, stdout], [0, null, "worked, held by 0 timers\n"], stderr);
    });
  }
});

// By V8's sampling heap profiler, which the other runtimes do not have.
describe("the way of a record without an SDK", { skip: !isNode }, () => {
  const records = 20_000;
  let bytes: Awaited<ReturnType<typeof allocatedBy>>;

  before(async () => {
    // Once for the compiler, which allocates as well.
    await work({}, records);
    bytes = await allocatedBy(() => work({}, records));
  });

  it("allocates nothing in the rooms of telemetry", () => {
    assert.ok(bytes.all / records > 50, `only ${bytes.all} bytes in all: the profiler is blind`);
    // An object has 16 bytes at least: half of one for each record is none for a record.
    assert.ok(bytes.telemetry / records < 8, `${bytes.telemetry / records} bytes a record`);
  });
});

interface ProfileNode {
  readonly callFrame: { readonly url: string };
  readonly selfSize: number;
  readonly children: readonly ProfileNode[];
}

async function allocatedBy(
  run: () => Promise<void>,
): Promise<{ readonly all: number; readonly telemetry: number }> {
  const { Session } = await import("node:inspector/promises");
  const session = new Session();
  session.connect();
  try {
    await session.post("HeapProfiler.startSampling", {
      samplingInterval: 1_024,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    });
    await run();
    const { profile } = await session.post("HeapProfiler.stopSampling");
    const inTelemetry = /\/src\/telemetry\/|@opentelemetry/;
    return {
      all: sizeOf(profile.head, () => true),
      telemetry: sizeOf(profile.head, (url) => inTelemetry.test(url)),
    };
  } finally {
    session.disconnect();
  }
}

function sizeOf(node: ProfileNode, counts: (url: string) => boolean): number {
  const own = counts(node.callFrame.url) ? node.selfSize : 0;
  return node.children.reduce((sum, child) => sum + sizeOf(child, counts), own);
}

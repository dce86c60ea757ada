/**
 * Traces of three processes, exported over OTLP/HTTP in both encodings to a real Jaeger, directly and by way of a real OpenTelemetry
 * Collector, and read back from Jaeger's API. A machine without Go says so and leaves it to otlp-bytes.test.ts.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { peerVersion, whyNoPeers } from "../../scripts/peers.ts";
import { type RuntimeName, root } from "../../scripts/runtimes.ts";
import { eventually } from "../integration/child.ts";
import { type Collector, type Jaeger, startCollector, startJaeger } from "./backends.ts";
import type { SeenSpan } from "./seen-span.ts";
import {
  checkAttributes,
  checkMixedBatch,
  checkProcessed,
  checkTree,
  isComplete,
  runTraced,
  services,
  type TracedRun,
} from "./traced-run.ts";

interface Way {
  readonly protocol: "http/json" | "http/protobuf";
  readonly collector: boolean;
  readonly agent: RuntimeName;
  readonly producer: RuntimeName;
  readonly consumer: RuntimeName;
}

const ways: readonly Way[] = [
  {
    protocol: "http/json",
    collector: false,
    agent: "node",
    producer: "node",
    consumer: "node",
  },
  { protocol: "http/protobuf", collector: false, agent: "bun", producer: "deno", consumer: "bun" },
  { protocol: "http/json", collector: true, agent: "deno", producer: "bun", consumer: "deno" },
  { protocol: "http/protobuf", collector: true, agent: "node", producer: "node", consumer: "node" },
];

/** The configuration that docs/collector.md gives. */
const page = readFileSync(join(root, "docs", "collector.md"), "utf8");
const documented = { config: /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? "" };

const absent = whyNoPeers();
const backend = absent === undefined ? `Jaeger ${peerVersion("jaeger")}` : "a real Jaeger";
if (absent !== undefined) console.log(`jaeger.test.ts does not run: ${absent}`);

for (const way of ways) {
  const path = way.collector ? `a real Collector ${peerVersion("collector")} to ` : "";
  const runtimes = `${way.producer} > ${way.agent} > ${way.consumer}`;
  const title = `${way.protocol} to ${path}${backend}, ${runtimes}`;
  describe(title, { skip: absent ?? false }, () => {
    let jaeger: Jaeger;
    let collector: Collector | undefined;
    let run: TracedRun;
    let trace: readonly SeenSpan[] = [];
    let sends: readonly SeenSpan[] = [];

    before(async () => {
      jaeger = await startJaeger();
      if (way.collector) collector = await startCollector({ tracesTo: jaeger.otlp, ...documented });
      run = await runTraced({ ...way, otlp: (collector ?? jaeger).otlp });
      trace = await eventually("the whole trace in Jaeger", async () => {
        const found = await jaeger.trace(run.single);
        return isComplete(found) && found;
      });
      sends = await eventually("all sends in Jaeger", async () => {
        const found = await jaeger.find(services.producer, `send ${run.topic}`);
        const own = found.filter(({ name }) => name === `send ${run.topic}`);
        return own.length === 3 && own;
      });
    });

    after(async () => {
      await collector?.stop();
      await jaeger?.stop();
    });

    it("shows one trace from the application to the object store", () => {
      checkTree(trace, run);
    });

    it("keeps the attributes of the conventions and our short ones, with their types", () => {
      checkAttributes(trace, run);
    });

    it("links a batch of several traces to each of its sends", async () => {
      const found = await jaeger.find(services.producer, "send_batch_to_agent");
      const batches = found.filter(({ name }) => name === "send_batch_to_agent");
      checkMixedBatch(
        batches,
        sends.filter(({ traceId }) => run.mixed.includes(traceId)),
      );
    });

    it("links what was processed to what created it", async () => {
      const name = `process ${run.topic}`;
      const found = await eventually("all processing in Jaeger", async () => {
        const spans = await jaeger.find(services.consumer, name);
        const own = spans.filter((span) => span.name === name);
        return own.length === 3 && own;
      });
      checkProcessed(found, sends);
    });
  });
}

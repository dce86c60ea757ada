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
  checkBulk,
  checkConsumer,
  checkMixedBatch,
  checkProcessed,
  checkTree,
  creationsIn,
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
    let created: readonly SeenSpan[] = [];

    before(async () => {
      jaeger = await startJaeger();
      if (way.collector) collector = await startCollector({ tracesTo: jaeger.otlp, ...documented });
      run = await runTraced({ ...way, otlp: (collector ?? jaeger).otlp });
      trace = await eventually("the whole trace in Jaeger", async () => {
        const found = await jaeger.trace(run.single);
        return isComplete(found) && found;
      });
      created = await eventually("all that was created in Jaeger", async () => {
        const sent = await jaeger.find(services.producer, `send ${run.topic}`);
        const found = creationsIn(sent, run);
        return found.length === 5 && found;
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

    const named = async (service: string, name: string) => {
      const found = await jaeger.find(service, name);
      return found.filter((span) => span.name === name);
    };

    it("links a batch of several traces to each of its sends", async () => {
      const batches = await named(services.producer, "send_batch_to_agent");
      const ofMixed = created.filter(({ traceId }) => run.mixed.includes(traceId));
      checkMixedBatch(batches, ofMixed);
    });

    it("links what sendBatch() sent to what created each record", async () => {
      checkBulk(await jaeger.trace(run.bulk), run);
    });

    it("links what was processed to what created it", async () => {
      const name = `process ${run.topic}`;
      const processed = await eventually("all processing in Jaeger", async () => {
        const found = await named(services.consumer, name);
        return found.length === 5 && found;
      });
      checkProcessed(processed, created);
    });

    it("links reading too, shows the rebalance, and the commit under the application's span", async () => {
      const settling = await eventually("the commit in Jaeger", async () => {
        const found = await jaeger.find(services.consumer, "settling");
        const names = found.map(({ name }) => name);
        return names.includes("settling") && found.some(({ kind }) => kind === "server") && found;
      });
      const received = await named(services.consumer, `receive ${run.topic}`);
      checkConsumer(received, settling, created, run);
    });
  });
}

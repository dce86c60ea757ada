/**
 * Broke: an agent with `telemetry: false`, or without the `streamhouse` family, computed every group's lag every 2.5 s: with 50 groups in 1,000
 * partitions a twentieth of a core, for nobody. A consumer without that family asked for its lag as often.
 * Why: the rounds that refresh the gauges were started whether there were gauges or not. Who asks for lag is answered from a snapshot of its own.
 * Cure: where nothing is exported there are no such rounds.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import type { TelemetryOptions } from "../../src/telemetry/telemetry.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { memoryMetadata, startAgent } from "../unit/agent/bench-agent.ts";
import { unavailable } from "../unit/consumer/fake-agent.ts";
import { setUp } from "../unit/consumer/setup.ts";

const ways: readonly (readonly [string, TelemetryOptions | false, boolean])[] = [
  ["with telemetry", {}, true],
  ["without telemetry", false, false],
  ["with the conventions' metrics only", { families: ["semconv"] }, false],
];

describe("lag is computed by itself only where it is exported", () => {
  for (const [how, telemetry, isWanted] of ways) {
    it(`by an agent ${how}`, async () => {
      const clock = new ManualClock();
      let snapshots = 0;
      const inner = memoryMetadata(clock);
      const lagSnapshot: MetadataStore["lagSnapshot"] = (...args) => {
        snapshots++;
        return inner.lagSnapshot(...args);
      };
      const metadata = { ...inner, lagSnapshot };
      const bench = await startAgent({ clock, metadata, telemetry });
      await clock.run(20_000);
      assert.equal(snapshots > 0, isWanted, `${snapshots} snapshots`);
      const before = snapshots;
      await bench.agent.api.describeGroup({ group: "g", positions: [] }, {});
      assert.equal(snapshots, before + 1, "one for who asks");
      await clock.until(bench.agent.stop());
    });

    it(`by a consumer ${how}`, async () => {
      const { agent, clock, open, until } = setUp(telemetry);
      agent.createTopic("t");
      // Each question is answered by one of these.
      const refusals = Array.from({ length: 1_000 }, () => unavailable("no lag"));
      agent.faults.set("describeGroup", refusals);
      const consumer = open();
      await until(consumer.poll(10));
      await clock.run(20_000);
      const questions = 1_000 - refusals.length;
      assert.equal(questions > 0, isWanted, `${questions} questions`);
      await until(consumer.close());
    });
  }
});

/**
 * Two worlds for the lag oracle: a house in memory on a clock that only the test moves, where every number is exact; and agents
 * behind gRPC on a data folder by the real clock, where time is known within a bracket. Both are scraped through `/metrics`.
 */
import assert from "node:assert/strict";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { createHandler } from "../../src/http/handler.ts";
import { type Served, serve } from "../../src/serve/serve.ts";
import { bootstrap } from "../../src/telemetry/bootstrap.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { createTestHouse } from "../../src/testing/test-house.ts";
import { parseMetrics, type Sample } from "./metrics-text.ts";
import { temporaryFolder } from "./ways.ts";

export interface Scrape {
  readonly samples: readonly Sample[];
  /** The values were collected between these moments, ms since 1970. */
  readonly fromMs: number;
  readonly toMs: number;
}

export interface World {
  readonly house: House;
  /** Where the command line finds an agent; empty in memory. */
  readonly grpc: string;
  /** How far two readings of the clock may be apart that are of one moment, ms. */
  readonly toleranceMs: number;
  now(): number;
  /** Waits for the work, moving the clock if it is ours. */
  until<T>(work: Promise<T>): Promise<T>;
  /** Lets so much time go by. */
  pass(ms: number): Promise<void>;
  scrape(): Promise<Scrape>;
  /** The agent ends and another begins on the same data; undefined where the data would be gone with it. */
  readonly restart: (() => Promise<void>) | undefined;
  close(): Promise<void>;
}

export interface WorldKind {
  readonly name: string;
  open(): Promise<World>;
}

/** Values are looked at often, so that a settled state shows soon. */
export const lagMs = 200;

const agent = { lagRefreshMs: lagMs, retentionCheckMs: 100 };

const inProcess: WorldKind = {
  name: "in process, on a manual clock",
  async open() {
    const clock = new ManualClock();
    const sdk = bootstrap({ register: false, env: {} });
    const house = await clock.until(createTestHouse({ clock, telemetry: sdk, agent }));
    const handle = createHandler({ metrics: sdk.metrics, scrape: { cacheMs: 0 } });
    return {
      house,
      grpc: "",
      toleranceMs: 0,
      restart: undefined,
      now: () => clock.now(),
      until: (work) => clock.until(work),
      pass: (ms) => clock.run(ms),
      async scrape() {
        const answer = await handle(new Request("http://localhost/metrics"));
        assert.equal(answer.status, 200);
        const at = clock.now();
        return { samples: parseMetrics(await answer.text()), fromMs: at, toMs: at };
      },
      async close() {
        await clock.until(house.close());
        await sdk.shutdown();
      },
    };
  },
};

const overGrpc: WorldKind = {
  name: "over gRPC, by the real clock",
  async open() {
    const folder = await temporaryFolder();
    const sdk = bootstrap({ register: false, env: {} });
    const start = (grpc: string, http: string): Promise<Served> =>
      serve({ data: folder.path, grpc, http, telemetry: sdk, agent });
    let served = await start("127.0.0.1:0", "127.0.0.1:0");
    const { grpc, http } = served;
    const house = await connect({ agents: [grpc], telemetry: sdk });
    let text = "";
    let latest: Scrape = { samples: [], fromMs: 0, toMs: 0 };
    return {
      house,
      grpc,
      toleranceMs: 5,
      now: () => Date.now(),
      until: (work) => work,
      pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      async scrape() {
        const began = Date.now();
        const answer = await fetch(`${http}/metrics`);
        assert.equal(answer.status, 200);
        const before = text;
        text = await answer.text();
        // A collection is answered again for a moment: then its values were taken when they were first told.
        if (text !== before) {
          latest = { samples: parseMetrics(text), fromMs: began, toMs: Date.now() };
        }
        return latest;
      },
      async restart() {
        await served.stop();
        served = await start(grpc, http.replace("http://", ""));
      },
      async close() {
        await house.close();
        await served.stop();
        await sdk.shutdown();
        await folder.remove();
      },
    };
  },
};

export const worlds: readonly WorldKind[] = [inProcess, overGrpc];

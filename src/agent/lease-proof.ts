/**
 * Whether a run still stood when it was asked for, by metadata's word. For what an agent says out of its memory and others act upon:
 * a machine that slept, or a database whose clock leapt, leaves an agent with a lease that another one has by now, until the next
 * renewal. A take-over ends a run whole, so a run that is still listed has lost none of its leases. However many ask, there is one
 * question at a time and a pause between two. Called by the append gate.
 */
import { type Clock, sleep } from "../core/clock.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import { JoinedReads } from "./joined-reads.ts";
import type { Reachability } from "./reachability.ts";

export interface LeaseProofComponents {
  readonly metadata: Pick<MetadataStore, "listRuns">;
  readonly reachability: Reachability;
  readonly clock: Clock;
}

/** Shortest between the beginnings of two questions, ms. */
const PAUSE_MS = 25;

export class LeaseProof {
  readonly #parts: LeaseProofComponents;
  readonly #reads = new JoinedReads<ReadonlySet<string>>();
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(parts: LeaseProofComponents) {
    this.#parts = parts;
  }

  /** Whether nobody had ended the run at a moment after this call. @throws StreamHouseError `METADATA_UNAVAILABLE` */
  async stands(runId: string): Promise<boolean> {
    return (await this.#reads.read("runs", () => this.#ask())).has(runId);
  }

  async #ask(): Promise<ReadonlySet<string>> {
    const { clock, metadata, reachability } = this.#parts;
    const pause = this.#askedAt + PAUSE_MS - clock.monotonic();
    if (pause > 0) await sleep(clock, pause);
    this.#askedAt = clock.monotonic();
    const runs = await reachability.watch(metadata.listRuns());
    return new Set(runs.map((it) => it.runId));
  }
}

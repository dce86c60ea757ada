/**
 * Every instrument, once. docs, dashboards and rules are checked against this list. A name with dots turned into
 * underscores (and `_total` for counters) is the Prometheus name by every route, which is why durations carry
 * `.seconds` themselves.
 */
import { type AgentInstrumentKey, agentInstruments } from "./catalogue-agent.ts";
import { type ClientInstrumentKey, clientInstruments } from "./catalogue-clients.ts";
import { type CompactionInstrumentKey, compactionInstruments } from "./catalogue-compaction.ts";
import { type HealthInstrumentKey, healthInstruments } from "./catalogue-health.ts";
import { type RunInstrumentKey, runInstruments } from "./catalogue-run.ts";
import { type SemconvInstrumentKey, semconvInstruments } from "./catalogue-semconv.ts";
import type { InstrumentDescriptor, InstrumentKind } from "./instrument.ts";

export type { InstrumentDescriptor, InstrumentKind };

/** Keys of the catalogue. */
export type InstrumentKey =
  | ClientInstrumentKey
  | RunInstrumentKey
  | AgentInstrumentKey
  | CompactionInstrumentKey
  | HealthInstrumentKey
  | SemconvInstrumentKey;

/** Every instrument there is, by key: name, kind, unit, attributes, buckets. `docs/metrics.md` is made from it. */
export const catalogue: Readonly<Record<InstrumentKey, InstrumentDescriptor>> = Object.freeze({
  ...clientInstruments,
  ...runInstruments,
  ...agentInstruments,
  ...compactionInstruments,
  ...healthInstruments,
  ...semconvInstruments,
});

/** Topics, keys and a gate around an `AgentApi` of functions: shared by the tests of access. */
import assert from "node:assert/strict";
import { type AccessControl, createAccessControl } from "../../../src/agent/access.ts";
import { topicNotFound } from "../../../src/agent/topics.ts";
import type { AccessRight } from "../../../src/core/access.ts";
import { bearerCredential, createApiKey, formatApiKey } from "../../../src/core/api-key.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { createUuid, systemRandom } from "../../../src/core/ids.ts";
import type { LogFields, Logger } from "../../../src/core/logger.ts";
import { hashSecret } from "../../../src/core/secret-hash.ts";
import type { Topic } from "../../../src/core/topic.ts";
import type { StoredApiKey } from "../../../src/metadata/key-store.ts";
import type { GroupState, LagSnapshot } from "../../../src/metadata/metadata-store.ts";
import type { AgentApi } from "../../../src/rpc/agent-api.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { countingTelemetry, fakeAgent, type SeenCall } from "../rpc/fake-agent.ts";

export interface AccessWorld {
  readonly access: AccessControl;
  readonly clock: ManualClock;
  readonly seen: SeenCall[];
  readonly keys: StoredApiKey[];
  readonly topics: ReadonlyMap<string, Topic>;
  readonly log: { readonly message: string; readonly fields: LogFields }[];
  readonly groups: Map<string, GroupState>;
  snapshot: LagSnapshot;
  /** A credential with these rights. */
  key(rights: readonly AccessRight[], lifeMs?: number): string;
  /** Topics that the agent does not know before it looks for them. */
  hide(...names: readonly string[]): void;
  /** Metadata cannot be asked for keys any more; the text is its error's. */
  down(message: string): void;
  refused(): Record<string, number>;
  id(name: string): string;
}

export const topicNames = ["a.x", "a.y", "ab", "b.x", "c"] as const;

export function accessWorld(methods: Partial<AgentApi> = {}): AccessWorld {
  const clock = new ManualClock();
  const { api, seen } = fakeAgent(methods);
  const keys: StoredApiKey[] = [];
  const topics = new Map(topicNames.map((name) => [name as string, topicOf(name)]));
  const byId = new Map([...topics.values()].map((it) => [it.id, it]));
  const hidden = new Set<string>();
  const log: { message: string; fields: LogFields }[] = [];
  const say = (message: string, fields: LogFields = {}) => void log.push({ message, fields });
  const logger: Logger = { debug: say, info: say, warn: say, error: say };
  const groups = new Map<string, GroupState>();
  let trouble: string | undefined;
  const telemetry = { ...countingTelemetry(), metrics: createMetricRegistry() };
  const world = {
    snapshot: { asOfMs: 0, rows: [], members: new Map() } as LagSnapshot,
  };
  const access = createAccessControl({
    ...{ api, clock, logger, telemetry },
    metadata: {
      listKeys: async () => {
        if (trouble !== undefined) throw metadataDown(trouble);
        return { asOfMs: clock.now(), keys: [...keys] };
      },
      describeGroup: async (group) => groups.get(group),
      lagSnapshot: async (group) => ({
        ...world.snapshot,
        rows: world.snapshot.rows.filter((it) => group === undefined || it.group === group),
      }),
    },
    topics: {
      byId: (topicId) => {
        const topic = byId.get(topicId);
        return topic === undefined || hidden.has(topic.name) ? undefined : topic;
      },
      find: async ({ topicId }) => {
        hidden.clear();
        const topic = byId.get(topicId);
        if (topic === undefined) throw topicNotFound({ name: "", topicId });
        return topic;
      },
    },
  });
  return Object.assign(world, {
    ...{ access, clock, seen, keys, topics, log, groups },
    key(rights: readonly AccessRight[], lifeMs?: number) {
      const text = createApiKey(systemRandom);
      const expiresAtMs = lifeMs === undefined ? undefined : clock.now() + lifeMs;
      const secretHash = hashSecret(text.secret);
      keys.push({ id: text.id, name: "key", rights, secretHash, createdAtMs: 0, expiresAtMs });
      access.keysChanged();
      return bearerCredential(formatApiKey(text));
    },
    hide(...names: readonly string[]) {
      for (const name of names) hidden.add(name);
    },
    down(message: string) {
      trouble = message;
    },
    refused() {
      const counts: Record<string, number> = {};
      for (const { descriptor, series } of telemetry.metrics.collect()) {
        if (descriptor.name !== "streamhouse.access.refused") continue;
        for (const { attributes, cell } of series.values()) {
          if ("value" in cell) counts[String(attributes.reason)] = cell.value;
        }
      }
      return counts;
    },
    id(name: string) {
      const topic = topics.get(name);
      assert.ok(topic !== undefined, name);
      return topic.id;
    },
  });
}

function metadataDown(message: string): StreamHouseError {
  return new StreamHouseError({ code: "METADATA_UNAVAILABLE", kind: "unavailable", message });
}

function topicOf(name: string): Topic {
  return { id: createUuid(), name, partitions: 1, retentionMs: 0, createdAtMs: 0 };
}

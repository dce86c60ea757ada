/**
 * The consistent cut that lag is computed from, in SQLite. A group's offsets in a topic are one step and one row, packed as JSON:
 * with 50 groups in 1,000 partitions that is a quarter of the time that a row for each offset takes, and no step is long.
 * Part of `createSqliteMetadata`.
 */
import type { TopicPartition } from "../core/topic.ts";
import type { LagRow, LagSnapshot, MetadataStore } from "./metadata-store.ts";
import { numberOf, type SqlRow, textOf } from "./sql-rows.ts";
import type { SqlReader } from "./sqlite-database.ts";
import type { ReadingSteps, SqliteSnapshots } from "./sqlite-snapshots.ts";

const MEMBERS =
  "SELECT group_name, count(*) AS live FROM members WHERE expires_at_ms > ? GROUP BY group_name";

const BOUNDS =
  "SELECT t.name, json_group_array(json_array(p.partition, p.next_offset, p.log_start)) AS packed " +
  "FROM topics t JOIN partitions p ON p.topic_id = t.topic_id WHERE t.topic_id = ? GROUP BY t.topic_id";

/** The next (group, topic) with commits; both tables are stored in the order of their keys. */
const COMMITTED =
  "SELECT group_name, topic_id, json_group_array(json_array(partition, committed_offset, committed_at_ms)) " +
  "AS packed FROM offsets WHERE (group_name, topic_id) > (?, ?) GROUP BY group_name, topic_id " +
  "ORDER BY group_name, topic_id LIMIT 1";

/** The next (group, topic) that live members have or are to have, committed or not: also what is on its way between two. */
const ASSIGNED =
  "SELECT a.group_name, a.topic_id, json_group_array(a.partition) AS packed FROM assignments a " +
  "WHERE EXISTS (SELECT 1 FROM members m WHERE m.group_name = a.group_name " +
  "AND m.member_id IN (a.member_id, a.target_id) AND m.expires_at_ms > ?) " +
  "AND (a.group_name, a.topic_id) > (?, ?) GROUP BY a.group_name, a.topic_id " +
  "ORDER BY a.group_name, a.topic_id LIMIT 1";

export function createLagStore(snapshots: SqliteSnapshots): Pick<MetadataStore, "lagSnapshot"> {
  return {
    async lagSnapshot(group, partitions = []) {
      return snapshots.take("taking the lag snapshot", stepsOf(group, partitions));
    },
  };
}

function stepsOf(
  only: string | undefined,
  partitions: readonly TopicPartition[],
): ReadingSteps<LagSnapshot> {
  return function* steps(reader, nowMs) {
    const cut = new Cut(reader);
    const members = new Map(
      reader
        .all(MEMBERS, nowMs)
        .map((row) => [textOf(row, "group_name"), numberOf(row, "live")] as const)
        .filter(([group]) => only === undefined || group === only),
    );
    for (const next of [committedAfter(reader), assignedAfter(reader, nowMs)]) {
      for (const page of pages(only, next)) {
        cut.add(page);
        yield;
      }
    }
    if (only !== undefined) {
      for (const { topicId, partition } of partitions) {
        cut.add({ group: only, topicId, entries: [[partition, -1, 0]] });
        yield;
      }
    }
    return { asOfMs: nowMs, rows: cut.rows, members };
  };
}

/** Partition, committed offset, time of the commit. */
type Entry = readonly [partition: number, committedOffset: number, committedAtMs: number];

interface Page {
  readonly group: string;
  readonly topicId: string;
  readonly entries: readonly Entry[];
}

type NextPage = (group: string, topicId: string) => Page | undefined;

function committedAfter(reader: SqlReader): NextPage {
  return (group, topicId) => pageOf(reader.get(COMMITTED, group, topicId), (it) => it as Entry);
}

function assignedAfter(reader: SqlReader, nowMs: number): NextPage {
  return (group, topicId) =>
    pageOf(reader.get(ASSIGNED, nowMs, group, topicId), (it) => [it as number, -1, 0]);
}

/** Topic ids are never empty, and groups never either: the first page comes after ("", ""). */
function* pages(only: string | undefined, next: NextPage): Generator<Page, void, void> {
  let page = next(only ?? "", "");
  while (page !== undefined && (only === undefined || page.group === only)) {
    yield page;
    page = next(page.group, page.topicId);
  }
}

function pageOf(row: SqlRow | undefined, entryOf: (it: unknown) => Entry): Page | undefined {
  if (row === undefined) return undefined;
  const packed = JSON.parse(textOf(row, "packed")) as readonly unknown[];
  return {
    group: textOf(row, "group_name"),
    topicId: textOf(row, "topic_id"),
    entries: packed.map(entryOf),
  };
}

interface Bounds {
  readonly name: string;
  readonly byPartition: ReadonlyMap<number, readonly [nextOffset: number, logStart: number]>;
}

/** The rows so far, each (group, partition) once. */
class Cut {
  readonly rows: LagRow[] = [];
  readonly #reader: SqlReader;
  readonly #topics = new Map<string, Bounds>();
  /** Partitions with a row, by topic and group: a topic's id has a fixed length, so no two keys are equal. */
  readonly #seen = new Map<string, Set<number>>();

  constructor(reader: SqlReader) {
    this.#reader = reader;
  }

  add({ group, topicId, entries }: Page): void {
    const { name, byPartition } = this.#bounds(topicId);
    const key = `${topicId}/${group}`;
    const seen = this.#seen.get(key) ?? new Set();
    this.#seen.set(key, seen);
    for (const [partition, committedOffset, committedAtMs] of entries) {
      const bounds = byPartition.get(partition);
      if (bounds === undefined || seen.has(partition)) continue;
      seen.add(partition);
      const [nextOffset, logStartOffset] = bounds;
      const at = { group, topicId, topic: name, partition };
      this.rows.push({ ...at, nextOffset, logStartOffset, committedOffset, committedAtMs });
    }
  }

  #bounds(topicId: string): Bounds {
    const known = this.#topics.get(topicId);
    if (known !== undefined) return known;
    const row = this.#reader.get(BOUNDS, topicId);
    const packed = row === undefined ? [] : (JSON.parse(textOf(row, "packed")) as Entry[]);
    const name = row === undefined ? "" : textOf(row, "name");
    const byPartition = new Map(packed.map(([p, next, start]) => [p, [next, start] as const]));
    const bounds = { name, byPartition };
    this.#topics.set(topicId, bounds);
    return bounds;
  }
}

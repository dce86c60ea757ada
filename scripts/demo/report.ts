/** What happened, for people: throughput, latency, lag, and whether what came out is what went in. */
import { print } from "./print.ts";
import { formatCount } from "./progress.ts";
import type { Outcome } from "./round-trip.ts";

/** The checks by name, with what was found. */
export function checksOf(outcome: Outcome, total: number): readonly (readonly [boolean, string])[] {
  const { sent, read, order, lag } = outcome;
  return [
    [
      sent.records === total && read.records === total,
      `count: ${formatCount(sent.records)} acknowledged, ${formatCount(read.records)} read, ${formatCount(total)} expected`,
    ],
    [
      sent.checksum() === read.checksum(),
      `checksum: ${sent.checksum()} sent, ${read.checksum()} read`,
    ],
    [order.violation === undefined, order.violation ?? "order: kept within every partition"],
    [lag === 0, `lag: ${lag}`],
  ];
}

/** Prints the report; true if every check holds. */
export function printReport(outcome: Outcome, total: number): boolean {
  const { sent, read, sendMs, wholeMs, latency } = outcome;
  const rate = (records: number, ms: number) => formatCount(records / (ms / 1_000));
  const megabytes = (bytes: number, ms: number) => (bytes / 1e6 / (ms / 1_000)).toFixed(1);
  print("");
  print(`records     ${formatCount(read.records)}, ${formatSize(read.bytes)} of keys and values`);
  print(
    `sent        ${rate(sent.records, sendMs)} records/s, ${megabytes(sent.bytes, sendMs)} MB/s, durable and acknowledged`,
  );
  print(
    `read back   ${rate(read.records, wholeMs)} records/s, ${megabytes(read.bytes, wholeMs)} MB/s, while they were being sent`,
  );
  print(
    `end to end  p50 ${latency.quantile(0.5)} ms, p99 ${latency.quantile(0.99)} ms, from send to delivery`,
  );
  const checks = checksOf(outcome, total);
  for (const [holds, text] of checks) print(`${holds ? "ok         " : "NOT OK     "} ${text}`);
  const holds = checks.every(([ok]) => ok);
  if (total === 0) print("Nothing went in: the input has no records.");
  else print(holds ? "What came out is what went in." : "What came out is NOT what went in.");
  return holds;
}

function formatSize(bytes: number): string {
  return bytes < 100_000 ? `${formatCount(bytes)} bytes` : `${(bytes / 1e6).toFixed(1)} MB`;
}

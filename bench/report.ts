/** Prints figures: as JSON lines for programs, or as a table for people. */
import type { Also, Figure } from "./figure.ts";
import type { Machine } from "./machine.ts";

/** First the machine, under `header`; then a line for each figure. */
export function jsonLines(machine: Machine, figures: readonly Figure[]): string {
  return [{ header: machine }, ...figures].map((line) => `${JSON.stringify(line)}\n`).join("");
}

export function table(machine: Machine, figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.name,
    grouped(figure.median),
    figure.unit,
    figure.interval95 === undefined ? "" : range(figure.interval95),
    `${grouped(figure.min)} to ${grouped(figure.max)}`,
    figure.megabytesPerSecond === undefined ? "" : grouped(figure.megabytesPerSecond),
    besides(figure),
  ]);
  const head = ["figure", "median", "unit", "95 %", "min to max", "MB/s", "in the same rounds"];
  const notes = figures.map((figure) => `  ${figure.name}: ${figure.note}\n`).join("");
  return `${headLines(machine)}\n${aligned([head, ...rows])}\n${notes}`;
}

/** Ratios to the limits, and what else was measured. */
function besides(figure: Figure): string {
  const ratios = Object.entries(figure.ratios).map(
    ([name, ratio]) => `${ratio.toFixed(2)} of ${name}`,
  );
  const also = Object.entries(figure.also ?? {}).map(
    ([name, { median, interval95 }]: [string, Also]) =>
      interval95 === undefined
        ? `${name} ${grouped(median)}`
        : `${name} ${grouped(median)} (${range(interval95)})`,
  );
  return [...ratios, ...also].join(", ");
}

function range([low, high]: readonly [number, number]): string {
  return `${grouped(low)} to ${grouped(high)}`;
}

function headLines(machine: Machine): string {
  const { settings } = machine;
  const packages = Object.entries(machine.packages).map(([name, version]) => `${name} ${version}`);
  return [
    `${machine.startedAt}, commit ${machine.commit}`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}`,
    `${machine.runtime}, ${packages.join(", ")}, CRC-32C ${machine.crc32c}`,
    `${settings.rounds} rounds after ${settings.warmUpRounds} of warm-up, ` +
      `${grouped(settings.recordsPerRound)} records of ${settings.valueBytes} bytes in each`,
    "",
  ].join("\n");
}

/** Left-aligned text, right-aligned numbers (the second and sixth column). */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) =>
    Math.max(...rows.map((row) => (row[i] ?? "").length)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, i) =>
          i === 1 || i === 5 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
        )
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

function grouped(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: Math.abs(value) < 10 ? 4 : 2 });
}

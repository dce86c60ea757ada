/** The texts of `--help`. Pure. Called by `streamhouse.ts`. */
import type { CommandSpec, OptionSpec } from "./arguments.ts";

/** Options of every command. */
const COMMON: Readonly<Record<string, OptionSpec>> = { help: { help: "show this" } };

/** The help of one command. */
export function commandHelp(spec: CommandSpec): string {
  const options = { ...spec.options, ...COMMON };
  const required = Object.entries(spec.options)
    .filter(([, option]) => option.required)
    .map(([name, option]) => ` --${name} ${option.value}`);
  const words = spec.positionals.map((name) => ` ${name}`);
  const rows = Object.entries(options).map(([name, option]): readonly [string, string] => [
    `--${name}${option.value === undefined ? "" : ` ${option.value}`}`,
    option.fallback === undefined ? option.help : `${option.help} (default ${option.fallback})`,
  ]);
  return [
    `${spec.summary}`,
    "",
    `Usage: streamhouse ${spec.name}${words.join("")}${required.join("")} [options]`,
    "",
    ...columns(rows),
    ...(spec.notes === undefined ? [] : ["", ...spec.notes]),
  ].join("\n");
}

/** The help of the program: its commands. */
export function programHelp(specs: readonly CommandSpec[]): string {
  const rows = specs.map((spec): readonly [string, string] => [
    [spec.name, ...spec.positionals].join(" "),
    spec.summary,
  ]);
  return [
    "StreamHouse: durable event streams over object storage.",
    "",
    "Usage: streamhouse COMMAND [options]",
    "",
    ...columns(rows),
    "",
    "streamhouse COMMAND --help tells more; streamhouse --version names the version.",
    "Exit codes: 0 done, 1 it failed while running, 2 the arguments are wrong.",
  ].join("\n");
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}

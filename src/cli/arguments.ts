/**
 * Reads a command's arguments, exactly: what is not declared is refused, with one line that says what to write instead.
 * Pure; it knows no command. Called by `streamhouse.ts` for whichever command was named.
 */

/** One `--name`, with or without a value. */
export interface OptionSpec {
  /** The word that stands for the value in the help; absent for a switch. */
  readonly value?: string;
  readonly help: string;
  /** In force when the option is not given; shown in the help. */
  readonly fallback?: string;
  /** Must be given. */
  readonly required?: boolean;
}

/** What a command takes. */
export interface CommandSpec {
  /** As typed: `topic create`. */
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Names of the words that must follow, in order. */
  readonly positionals: readonly string[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** More sentences for `--help`. */
  readonly notes?: readonly string[];
}

/** A mistake in the arguments: one line on stderr, exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** The command to show the help of; empty for the program itself. */
  readonly command: string;

  constructor(message: string, command: string) {
    super(message);
    this.command = command;
  }
}

/** Arguments as given, checked for names and number only; the readers below check values. */
export class Arguments {
  readonly spec: CommandSpec;
  readonly #positionals: readonly string[];
  readonly #values: ReadonlyMap<string, string>;
  readonly #switches: ReadonlySet<string>;

  constructor(
    spec: CommandSpec,
    positionals: readonly string[],
    values: ReadonlyMap<string, string>,
    switches: ReadonlySet<string>,
  ) {
    this.spec = spec;
    this.#positionals = positionals;
    this.#values = values;
    this.#switches = switches;
  }

  /** The word at this place. */
  positional(index: number): string {
    return this.#positionals[index] ?? "";
  }

  /** The option's value, its fallback, or undefined. */
  value(name: string): string | undefined {
    return this.#values.get(name) ?? this.spec.options[name]?.fallback;
  }

  /** Whether the switch was given. */
  has(name: string): boolean {
    return this.#switches.has(name);
  }

  /** The value as one of a few words. */
  oneOf<T extends string>(name: string, allowed: readonly T[]): T {
    const text = this.value(name) ?? "";
    const found = allowed.find((word) => word === text);
    if (found !== undefined) return found;
    throw this.mistake(`--${name} is ${quote(text)}: use ${allowed.join(", ")}`);
  }

  /** The value as a whole number, or undefined if the option was not given. */
  whole(name: string, min: number, max: number): number | undefined {
    const text = this.value(name);
    if (text === undefined) return undefined;
    const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw this.mistake(`--${name} is ${quote(text)}: use a whole number from ${min} to ${max}`);
  }

  /** The value as `HOST:PORT`, or undefined if the option was not given. */
  address(name: string, portMin: number): string | undefined {
    const text = this.value(name);
    if (text === undefined) return undefined;
    if (isAddress(text, portMin)) return text;
    throw this.mistake(`--${name} is ${quote(text)}: use HOST:PORT, such as 127.0.0.1:7070`);
  }

  /** The value as one or more `HOST:PORT`, separated by commas. */
  addresses(name: string): readonly string[] {
    const text = this.value(name) ?? "";
    const list = text.split(",").map((part) => part.trim());
    const wrong = list.find((part) => !isAddress(part, 1));
    if (wrong === undefined) return list;
    throw this.mistake(
      `--${name} has ${quote(wrong)}: use HOST:PORT, with commas between several, such as localhost:7070`,
    );
  }

  mistake(message: string): UsageError {
    return new UsageError(message, this.spec.name);
  }
}

/**
 * Parses what follows the command's name. `--name value` and `--name=value` are the same; `--` ends the options.
 * Answers `help` if it was asked for, whatever else is wrong.
 * @throws UsageError
 */
export function parseArguments(spec: CommandSpec, argv: readonly string[]): Arguments | "help" {
  if (asksForHelp(argv)) return "help";
  const positionals: string[] = [];
  const values = new Map<string, string>();
  const switches = new Set<string>();
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string;
    if (word === "--") {
      positionals.push(...argv.slice(i + 1));
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      positionals.push(word);
      continue;
    }
    const equals = word.indexOf("=");
    const name = (equals < 0 ? word : word.slice(0, equals)).replace(/^--/, "");
    const option = Object.hasOwn(spec.options, name) ? spec.options[name] : undefined;
    if (option === undefined) throw new UsageError(`unknown option ${quote(word)}`, spec.name);
    if (values.has(name) || switches.has(name)) {
      throw new UsageError(`--${name} is given twice`, spec.name);
    }
    if (option.value === undefined) {
      if (equals >= 0) throw new UsageError(`--${name} takes no value`, spec.name);
      switches.add(name);
    } else if (equals >= 0) {
      values.set(name, word.slice(equals + 1));
    } else {
      values.set(name, nextValue(spec, name, option.value, argv[i + 1]));
      i += 1;
    }
  }
  checkCounts(spec, positionals, values);
  return new Arguments(spec, positionals, values, switches);
}

function asksForHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  const options = end < 0 ? argv : argv.slice(0, end);
  return options.includes("--help") || options.includes("-h");
}

function nextValue(
  spec: CommandSpec,
  name: string,
  word: string,
  next: string | undefined,
): string {
  if (next !== undefined && !next.startsWith("--")) return next;
  const more = next === undefined ? "" : `; write --${name}=${next} if ${quote(next)} is the value`;
  throw new UsageError(`--${name} needs a value, ${word}${more}`, spec.name);
}

function checkCounts(
  spec: CommandSpec,
  positionals: readonly string[],
  values: ReadonlyMap<string, string>,
): void {
  const missing = spec.positionals[positionals.length];
  if (missing !== undefined) throw new UsageError(`${missing} is missing`, spec.name);
  const extra = positionals[spec.positionals.length];
  if (extra !== undefined) throw new UsageError(`unexpected argument ${quote(extra)}`, spec.name);
  for (const [name, option] of Object.entries(spec.options)) {
    if (option.required && !values.has(name)) {
      throw new UsageError(`--${name} ${option.value ?? ""} is missing`, spec.name);
    }
  }
}

function isAddress(text: string, portMin: number): boolean {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^\s:,/[\]]+):(\d{1,5})$/.exec(text);
  if (match === null) return false;
  const port = Number(match[2]);
  return port >= portMin && port <= 65_535;
}

/**
 * Text of the user's as it can stand in a line of ours: short, and without control characters. Of a key, or a URL with a password, that was
 * written where something else belongs (the name of its file, say) the secret is left out.
 */
export function quote(text: string): string {
  const shown = text
    .replace(/(sh_[0-9A-Za-z]{1,12}_)\S*/, "$1…")
    .replace(/(:\/\/[^/@\s:]*):\S*@/, "$1:…@");
  return JSON.stringify(shown.length > 60 ? `${shown.slice(0, 60)}…` : shown);
}

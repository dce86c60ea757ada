/**
 * What a command has to do with the process it runs in: the three standard streams and the wish to stop. The only room of the
 * command line that touches `process`; tests hand in their own.
 */
import process from "node:process";
import type { LogFields, Logger } from "../core/logger.ts";
import { onStopSignal } from "../serve/signals.ts";
import { createLineOutput, type LineOutput } from "./line-output.ts";

/** A command's whole contact with the outside. `runCli` uses the process's own unless it is given another. */
export interface CliIo {
  /** Bytes of standard input until its end, or until `stop` aborts. */
  stdin(): AsyncIterable<Uint8Array>;
  readonly stdout: LineOutput;
  /** One line to standard error. */
  stderr(line: string): void;
  /** The environment's variables, for secrets that must not stand in the list of processes. Default: none. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Aborts at the first SIGTERM or SIGINT. */
  readonly stop: AbortSignal;
}

/** The real process. A second SIGINT or SIGTERM ends it at once. */
export function createProcessIo(): CliIo {
  const stop = new AbortController();
  onStopSignal(() => stop.abort());
  // Without a listener a broken stderr would end the process; there is nobody left to tell.
  process.stderr.on("error", () => {});
  return {
    stdin: () => readStdin(stop.signal),
    stdout: createLineOutput(process.stdout),
    stderr: (line) => {
      process.stderr.write(`${line}\n`);
    },
    env: process.env,
    stop: stop.signal,
  };
}

async function* readStdin(stop: AbortSignal): AsyncGenerator<Uint8Array> {
  const input = process.stdin;
  const onAbort = () => {
    input.destroy();
  };
  if (stop.aborted) return;
  stop.addEventListener("abort", onAbort, { once: true });
  try {
    for await (const chunk of input) {
      yield typeof chunk === "string" ? new TextEncoder().encode(chunk) : (chunk as Uint8Array);
    }
  } catch (error) {
    // Destroying the stream ends the loop with an error; that was us.
    if (!stop.aborted) throw error;
  } finally {
    stop.removeEventListener("abort", onAbort);
    input.destroy();
  }
}

/** The same message is written again only after this long: an outage is one line now and then, not a flood. */
const repeatMs = 30_000;

/** Messages that are remembered; beyond it all are forgotten. */
const messagesMax = 1_000;

/** Log lines for people on standard error: time, level, message, fields, and how often it was left out since the last time. */
export function createStderrLogger(
  stderr: (line: string) => void,
  now: () => number = Date.now,
): Logger {
  const seen = new Map<string, { at: number; left: number }>();
  const write = (level: string) => (message: string, fields?: LogFields) => {
    const before = seen.get(message);
    const at = now();
    if (before !== undefined && at - before.at < repeatMs) {
      before.left++;
      return;
    }
    if (seen.size >= messagesMax) seen.clear();
    seen.set(message, { at, left: 0 });
    const more = before !== undefined && before.left > 0 ? ` (and ${before.left} more)` : "";
    stderr(`${new Date(at).toISOString()} ${level} ${message}${fieldsText(fields)}${more}`);
  };
  return { debug() {}, info: write("info"), warn: write("warn"), error: write("error") };
}

function fieldsText(fields: LogFields | undefined): string {
  return Object.entries(fields ?? {})
    .map(([name, value]) => ` ${name}=${value instanceof Error ? value.message : plain(value)}`)
    .join("");
}

function plain(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return typeof value === "string" && /[\s"=]/.test(value) ? JSON.stringify(value) : String(text);
}

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

/** Log lines for people on standard error: time, level, message, fields. */
export function createStderrLogger(stderr: (line: string) => void): Logger {
  const write = (level: string) => (message: string, fields?: LogFields) => {
    stderr(`${new Date().toISOString()} ${level} ${message}${fieldsText(fields)}`);
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

/**
 * Says that exports over OTLP began to fail, and that they go through again: once for each, however many fail in between. A wrong
 * address is the commonest reason why traces are missing, and counts of it are read only by those who scrape. Never throws, never
 * tells headers. Called by the bootstrap's two halves; what was lost is counted there.
 */
import { type ExportResult, ExportResultCode } from "@opentelemetry/core";
import type { Logger } from "../core/logger.ts";

/** Told of every export's end. */
export type ExportReport = (result: ExportResult) => void;

/** The longest reason that is told: a proxy may answer with a page. */
const reasonCharsMax = 200;

/** `url`: where they go; a user and password in it are not told. */
export function createExportReport(
  logger: Pick<Logger, "warn">,
  signal: "traces" | "metrics",
  url: string,
): ExportReport {
  const to = addressOf(url);
  let failing = false;
  const say = (message: string) => {
    try {
      logger.warn(message);
    } catch {
      // The application's logger: what it throws must not fail an export.
    }
  };
  return ({ code, error }) => {
    const failed = code !== ExportResultCode.SUCCESS;
    if (failed === failing) return;
    failing = failed;
    if (failed) say(`${signal} cannot be sent to ${to}: ${reasonOf(error)}; lost ones are counted`);
    else say(`${signal} are sent to ${to} again`);
  };
}

function addressOf(url: string): string {
  try {
    const { origin, pathname } = new URL(url);
    return `${origin}${pathname}`;
  } catch {
    return "an address that is none";
  }
}

/** Node's error for a name with several addresses has an empty message and a code. */
function reasonOf(error: (Error & { readonly code?: unknown }) | undefined): string {
  const { message = "", code } = error ?? {};
  const said = message.replaceAll(/\s+/g, " ").slice(0, reasonCharsMax);
  if (said === "") return code === undefined ? "no reason was given" : String(code);
  return typeof code === "number" ? `${code} ${said}` : said;
}

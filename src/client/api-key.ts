/**
 * The key that a client says with each call: given as it is, or asked of the application for when there is none or the last one was
 * refused. It goes over the wire in `authorization` metadata and nowhere else: no error, log or span has it. Used by the gRPC connections.
 */
import type { Clock } from "../core/clock.ts";
import { invalid, StreamHouseError } from "../core/errors.ts";

/** A key, or a function that gives one: called before the first call, and again after a key was refused. */
export type ApiKey = string | (() => string | Promise<string>);

/** Says who calls. */
export interface Authorizer {
  /** What the next call carries as `authorization`; at once where it is known. @throws StreamHouseError */
  authorization(): string | undefined | Promise<string>;
  /**
   * The error of a call that carried `authorization`. If its key was refused and another may be had, the same error as retriable:
   * the next `authorization()` asks for it.
   */
  judge(error: StreamHouseError, authorization: string | undefined): StreamHouseError;
}

/** The key, or that there is none, is what is at fault. */
export function isAboutKey({ code, field }: StreamHouseError): boolean {
  return code === "UNAUTHENTICATED" || code === "PERMISSION_DENIED" || field === "apiKey";
}

/** Of a client without a key. */
export const anonymous: Authorizer = { authorization: () => undefined, judge: (error) => error };

/** Of a connection that a key must not go over. */
export function forbidden(address: string): Authorizer {
  return {
    ...anonymous,
    authorization: () => {
      throw invalid(
        "INVALID_ARGUMENT",
        `the key was not sent to ${address}: without TLS everybody between could read it; connect with tls (or set ` +
          "apiKeyOverPlaintext, if something else protects the connection)",
        { field: "apiKey" },
      );
    },
  };
}

/** How long the application's function may take. */
const ASK_MS = 5_000;

/** What fits into a header, and is no header of its own. */
const KEY = /^[\x21-\x7e]{1,1024}$/;

/** One for each transport: all its connections carry the same key. @throws StreamHouseError `INVALID_ARGUMENT` (field `apiKey`) */
export function createAuthorizer(key: ApiKey | undefined, clock: Clock): Authorizer {
  if (key === undefined) return anonymous;
  if (typeof key === "function") return new AskedKeys(key, clock);
  if (typeof key !== "string" || !KEY.test(key)) {
    const message =
      "apiKey is no key: it must be of 1 to 1,024 visible ASCII characters, no spaces";
    throw invalid("INVALID_ARGUMENT", message, { field: "apiKey" });
  }
  return { ...anonymous, authorization: () => `Bearer ${key}` };
}

class AskedKeys implements Authorizer {
  readonly #ask: () => string | Promise<string>;
  readonly #clock: Clock;
  #current: string | undefined;
  #asking: Promise<string> | undefined;
  #refused: string | undefined;

  constructor(ask: () => string | Promise<string>, clock: Clock) {
    this.#ask = ask;
    this.#clock = clock;
  }

  authorization(): string | Promise<string> {
    if (this.#current !== undefined) return this.#current;
    this.#asking ??= this.#askNow().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  judge(error: StreamHouseError, authorization: string | undefined): StreamHouseError {
    if (error.code !== "UNAUTHENTICATED" || authorization === undefined) return error;
    const isCurrent = this.#current === authorization;
    if (isCurrent) this.#current = undefined;
    // The application gave the same again: it has no other.
    if (isCurrent && this.#refused === authorization) return error;
    this.#refused = authorization;
    const { code, kind, message, outcome, retryAfterMs } = error;
    return new StreamHouseError({
      ...{ code, kind, message, outcome, retryAfterMs, cause: error },
      retriable: true,
    });
  }

  async #askNow(): Promise<string> {
    let key: unknown;
    try {
      key = await this.#inTime(async () => this.#ask());
    } catch (cause) {
      throw noKey("it failed or took too long (see the cause)", cause);
    }
    if (typeof key !== "string" || !KEY.test(key)) {
      throw noKey("what it gave is not 1 to 1,024 visible ASCII characters");
    }
    this.#current = `Bearer ${key}`;
    return this.#current;
  }

  #inTime(ask: () => Promise<string>): Promise<string> {
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`no key within ${ASK_MS} ms`));
      const timer = this.#clock.schedule(ASK_MS, late);
      ask()
        .finally(() => timer.cancel())
        .then(resolve, reject);
    });
  }
}

function noKey(why: string, cause?: unknown): StreamHouseError {
  return new StreamHouseError({
    code: "UNAUTHENTICATED",
    kind: "unavailable",
    message: `the function given as apiKey gave no key: ${why}`,
    cause,
  });
}

/** Whether a connection to this host never leaves the machine. */
export function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|::1)$/i.test(host);
}

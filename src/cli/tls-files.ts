/**
 * The certificate files of `streamhouse agent`: read at the start, and again whenever they change, so that a renewed certificate is in use
 * without a restart. Called by `agent.ts`.
 */
import type { Logger } from "../core/logger.ts";
import type { ServerTls } from "../rpc/tls-options.ts";
import type { Arguments, OptionSpec } from "./arguments.ts";
import { textFile } from "./text-file.ts";

export const serverTlsOptions: Readonly<Record<string, OptionSpec>> = {
  "tls-cert": {
    value: "FILE",
    help: "serve gRPC over TLS with this certificate (PEM, with those between it and its authority)",
  },
  "tls-key": { value: "FILE", help: "its private key (PEM)" },
  "tls-client-ca": {
    value: "FILE",
    help: "let only clients in that have a certificate of these authorities (PEM): mutual TLS",
  },
};

/** Undefined without `--tls-cert`. @throws UsageError */
export async function readServerTls(args: Arguments): Promise<ServerTls | undefined> {
  const cert = await textFile(args, "tls-cert");
  const key = await textFile(args, "tls-key");
  const clientCa = await textFile(args, "tls-client-ca");
  if (cert === undefined) {
    const given = ["tls-key", "tls-client-ca"].find((name) => args.value(name) !== undefined);
    if (given !== undefined) throw args.mistake(`--${given} needs --tls-cert FILE beside it`);
    return undefined;
  }
  if (key === undefined) throw args.mistake("--tls-cert needs --tls-key FILE beside it");
  return { cert, key, clientCa };
}

/** How often the files are looked at. They are read whole: what mounts them may swap folders and keep their times. */
const lookMs = 2_000;

/**
 * Calls `renew` with what the files hold whenever that changes. Files that do not fit together (one was written, the other not yet)
 * are tried again; the certificates in use stay. Answers a function that ends it.
 */
export function followTlsFiles(
  args: Arguments,
  inUse: ServerTls,
  components: { readonly renew: (tls: ServerTls) => void; readonly logger: Logger },
): () => void {
  const { renew, logger } = components;
  let current = inUse;
  let ended = false;
  let timer: ReturnType<typeof setTimeout>;
  const look = async () => {
    try {
      const found = await readServerTls(args);
      if (ended || found === undefined || isSame(found, current)) return;
      renew(found);
      current = found;
      logger.info("the certificates were read again: new connections see the new ones", {});
    } catch (error) {
      logger.warn("changed certificate files cannot be used; the old ones stay in use", { error });
    }
  };
  const later = () => {
    timer = setTimeout(() => void look().finally(() => (ended ? undefined : later())), lookMs);
  };
  later();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

function isSame(a: ServerTls, b: ServerTls): boolean {
  return a.cert === b.cert && a.key === b.key && a.clientCa === b.clientCa;
}

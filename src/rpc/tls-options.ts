/**
 * What TLS is set up from: PEM texts, never file names. Says at once which of them is missing or is no PEM, and never repeats
 * one. Pure; the sockets are in `tls-gate.ts`. Called by whoever takes such options: `serve()`, `connect()`, the command line.
 */
import { invalid, type StreamHouseError } from "../core/errors.ts";

/** How an agent's gRPC server speaks TLS. PEM texts. */
export interface ServerTls {
  /** The server's certificate, followed by those between it and its authority. Holds the names that clients connect to. */
  readonly cert: string;
  /** The private key of the certificate, not encrypted. */
  readonly key: string;
  /** Mutual TLS: certificates of the authorities whose clients may connect. Without it no client is asked for a certificate. */
  readonly clientCa?: string | undefined;
}

/** How a client speaks TLS. PEM texts; all optional. */
export interface ClientTls {
  /** Certificates of the authorities that the agents' certificates come from. Default: those that the runtime brings. */
  readonly ca?: string | undefined;
  /** The client's own certificate, where agents ask for one. Goes with `key`. */
  readonly cert?: string | undefined;
  /** The private key of `cert`, not encrypted. */
  readonly key?: string | undefined;
  /**
   * The DNS name that the agents' certificates hold, where it is not the one that is connected to: behind a port mapping or a
   * tunnel. It is sent as SNI and compared with the certificate instead of the address.
   */
  readonly serverName?: string | undefined;
}

/** @throws StreamHouseError `INVALID_ARGUMENT` (field `tls.cert`, `tls.key`, `tls.clientCa`) */
export function checkServerTls({ cert, key, clientCa }: ServerTls): void {
  checkCertificates("tls.cert", cert);
  checkKey("tls.key", key);
  if (clientCa !== undefined) checkCertificates("tls.clientCa", clientCa);
}

/** @throws StreamHouseError `INVALID_ARGUMENT` (field `tls.ca`, `tls.cert`, `tls.key`, `tls.serverName`) */
export function checkClientTls({ ca, cert, key, serverName }: ClientTls): void {
  if (ca !== undefined) checkCertificates("tls.ca", ca);
  if ((cert === undefined) !== (key === undefined)) {
    const missing = cert === undefined ? "tls.cert" : "tls.key";
    throw badTls(
      missing,
      "is missing: a client certificate goes with its key; give both or neither",
    );
  }
  if (cert !== undefined) checkCertificates("tls.cert", cert);
  if (key !== undefined) checkKey("tls.key", key);
  if (serverName === undefined) return;
  const isName = /^(?=.{1,253}$)[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?$/i.test(serverName);
  if (isName && !/^[\d.]+$/.test(serverName)) return;
  throw badTls("tls.serverName", "must be a DNS name that the agents' certificates hold");
}

/** The certificates of a PEM text, one by one. */
export function certificatesOf(pem: string): readonly string[] {
  return pem.match(CERTIFICATE) ?? [];
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;
const KEY = /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/;

function checkCertificates(field: string, pem: unknown): void {
  if (typeof pem === "string" && certificatesOf(pem).length > 0) return;
  throw badTls(
    field,
    "holds no certificate: give the text of a PEM file (-----BEGIN CERTIFICATE-----), not its name",
  );
}

function checkKey(field: string, pem: unknown): void {
  const text = typeof pem === "string" ? pem : "";
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(text)) {
    throw badTls(field, "is encrypted: give the private key without a passphrase");
  }
  if (KEY.test(text)) return;
  throw badTls(
    field,
    "holds no private key: give the text of a PEM file (-----BEGIN PRIVATE KEY-----), not its name",
  );
}

/** An option of TLS that cannot be used. What it holds is not repeated. */
export function badTls(field: string, why: string, cause?: unknown): StreamHouseError {
  return invalid("INVALID_ARGUMENT", `${field} ${why}`, { field, cause });
}

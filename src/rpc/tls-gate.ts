/**
 * TLS under gRPC, both ends: the one room that touches `node:tls`. Nothing here lets an unverified peer through, whatever the
 * environment says (`NODE_TLS_REJECT_UNAUTHORIZED`). Used by `channel.ts` and `agent/server.ts`.
 *
 * The client's end is ours because the one in @grpc/grpc-js 1.14.7 names an IP address as SNI: Bun and Deno refuse that, Node warns
 * of it, and RFC 6066 section 3 forbids it (https://www.rfc-editor.org/rfc/rfc6066#section-3). An IP address is
 * compared with the certificate all the same, and sent as nothing.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP, type Socket } from "node:net";
import {
  checkServerIdentity as checkNames,
  connect,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
} from "node:tls";
import {
  CallCredentials,
  ChannelCredentials,
  type experimental,
  ServerCredentials,
} from "@grpc/grpc-js";
import {
  badTls,
  type ClientTls,
  certificatesOf,
  checkClientTls,
  checkServerTls,
  type ServerTls,
} from "./tls-options.ts";

/** A peer that began a handshake and does not go on is let go of. */
const HANDSHAKE_MS = 10_000;

const minVersion = "TLSv1.2";

/** What a gRPC server listens with. Its certificates can be replaced while it listens; connections that are open keep theirs. */
export class TlsServerCredentials extends ServerCredentials {
  /** Clients must have certificates. */
  readonly mutual: boolean;

  /** @throws StreamHouseError `INVALID_ARGUMENT` (field `tls.…`) */
  constructor(tls: ServerTls) {
    const mutual = tls.clientCa !== undefined;
    super(
      { requestCert: mutual, rejectUnauthorized: mutual, handshakeTimeout: HANDSHAKE_MS },
      serverContext(tls),
    );
    this.mutual = mutual;
  }

  /**
   * New connections see these certificates from now on.
   * @throws StreamHouseError `INVALID_ARGUMENT` (field `tls.…`); the ones in use stay then
   */
  renew(tls: ServerTls): void {
    const context = serverContext(tls);
    if ((tls.clientCa !== undefined) !== this.mutual) {
      throw badTls(
        "tls.clientCa",
        "cannot be added or taken away while the server listens: start the agent anew",
      );
    }
    this.updateSecureContextOptions(context);
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

function serverContext(tls: ServerTls) {
  checkServerTls(tls);
  checkPair(tls.cert, tls.key);
  if (tls.clientCa !== undefined) checkReadable("tls.clientCa", tls.clientCa);
  const { cert, key, clientCa } = tls;
  return { cert, key, minVersion, ...(clientCa !== undefined && { ca: clean(clientCa) }) } as const;
}

/** Bun takes nothing but certificates in a bundle; others skip the comments. */
function clean(pem: string): string {
  return certificatesOf(pem).join("\n");
}

/** The part of a certificate that names are compared with. */
function checkServerIdentity(
  host: string,
  certificate: Pick<PeerCertificate, "subjectaltname"> & { readonly subject: object },
): Error | undefined {
  return checkNames(host, certificate as PeerCertificate);
}

/** What is to be known of a server's certificate before anybody connects. */
export interface CertificateFacts {
  /** The names and addresses that it is good for, as in the certificate. */
  readonly names: string;
  readonly validFromMs: number;
  readonly validToMs: number;
  /** A client that connects to `host` (a name or an IP address) accepts the certificate's names. */
  holds(host: string): boolean;
}

export function certificateFacts(pem: string): CertificateFacts {
  const certificate = firstOf(pem);
  const names = certificate.subjectAltName ?? "";
  return {
    names,
    validFromMs: Date.parse(certificate.validFrom),
    validToMs: Date.parse(certificate.validTo),
    // What a client does. Deno 2.9's `checkHost` knows no wildcards.
    holds: (host) =>
      checkServerIdentity(host, { subjectaltname: names, subject: {} }) === undefined,
  };
}

/** A client's TLS, ready for use by any number of connections. */
export interface ClientSecurity {
  readonly context: SecureContext;
  readonly serverName: string | undefined;
  /** The client has a certificate of its own. */
  readonly mutual: boolean;
}

/** @throws StreamHouseError `INVALID_ARGUMENT` (field `tls.…`) */
export function clientSecurity(tls: ClientTls): ClientSecurity {
  checkClientTls(tls);
  const { ca, cert, key, serverName } = tls;
  if (cert !== undefined && key !== undefined) checkPair(cert, key);
  if (ca !== undefined) checkReadable("tls.ca", ca);
  const given = {
    ...(ca !== undefined && { ca: clean(ca) }),
    ...(cert !== undefined && { cert, key }),
  };
  const context = createSecureContext({ ...given, minVersion });
  return { context, serverName, mutual: cert !== undefined };
}

/** Deno takes what does not fit together and fails at the handshake, each runtime with words of its own: it is asked for here. */
function checkPair(cert: string, key: string): void {
  checkReadable("tls.cert", cert);
  let fits: boolean;
  try {
    fits = firstOf(cert).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw badTls("tls.key", "cannot be read: it is damaged, or of a kind that is not known", cause);
  }
  if (fits) return;
  throw badTls("tls.key", "is not the key of tls.cert: give the two that were made together");
}

function checkReadable(field: string, pem: string): void {
  try {
    for (const each of certificatesOf(pem)) new X509Certificate(each);
  } catch (cause) {
    throw badTls(field, "holds a certificate that cannot be read: it is damaged", cause);
  }
}

function firstOf(pem: string): X509Certificate {
  return new X509Certificate(certificatesOf(pem)[0] ?? "");
}

type Connector = experimental.SecureConnector;

/** What a client's channel to one host is made with. */
export class TlsChannelCredentials extends ChannelCredentials {
  readonly #security: ClientSecurity;
  readonly #host: string;

  constructor(security: ClientSecurity, host: string) {
    super();
    this.#security = security;
    this.#host = host;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    _target: unknown,
    _options: unknown,
    callCredentials?: CallCredentials,
  ): Connector {
    const credentials = callCredentials ?? CallCredentials.createEmpty();
    return {
      connect: async (socket) => ({ socket: await this.#shakeHands(socket), secure: true }),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => credentials,
      destroy() {},
    };
  }

  #shakeHands(socket: Socket): Promise<Socket> {
    const { context, serverName } = this.#security;
    const host = serverName ?? this.#host;
    return new Promise((resolve, reject) => {
      const secure = connect({
        socket,
        host,
        // Not empty for an address, but absent: an empty one is no URL's host for Deno's HTTP/2.
        ...(isIP(host) === 0 && { servername: host }),
        secureContext: context,
        ALPNProtocols: ["h2"],
        rejectUnauthorized: true,
        checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
      });
      const timer = setTimeout(() => secure.destroy(new Error(SILENT)), HANDSHAKE_MS);
      const done = (then: () => void) => {
        clearTimeout(timer);
        then();
      };
      secure.once("secureConnect", () =>
        done(() => {
          if (secure.authorized) resolve(secure);
          else reject(secure.authorizationError);
        }),
      );
      // Listened to until the end: an error between the handshake and HTTP/2's first listener must not end the process.
      secure.on("error", (error) => done(() => reject(error)));
      secure.once("close", () => done(() => reject(new Error(BROKEN))));
    });
  }
}

const SILENT = `the TLS handshake was not finished within ${HANDSHAKE_MS} ms`;
const BROKEN = "the connection was closed during the TLS handshake";

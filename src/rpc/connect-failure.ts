/**
 * Why no connection came about, in words that say what to do. The texts are those of @grpc/grpc-js 1.14.7 and of the TLS libraries
 * of Node, Bun and Deno; test/integration/tls.test.ts provokes the real ones on each. Pure. Used by `status.ts`.
 */

/** How the connection was to be protected; `mutual-tls`: the client has a certificate of its own. */
export type ConnectionSecurity = "plain" | "tls" | "mutual-tls";

interface Reason {
  readonly pattern: RegExp;
  readonly advice: string;
}

const unlessListens = "check that an agent runs and listens there";

const reasons: readonly Reason[] = [
  {
    pattern: /altname|NotValidForName/i,
    advice:
      "the agent's certificate is for another name: connect to a name that it holds (agents advertise theirs to clients: " +
      "see `advertise`), or give that name as tls.serverName",
  },
  {
    pattern: /expired/i,
    advice: "the agent's certificate has expired: renew it (and check this machine's clock)",
  },
  {
    pattern: /not yet valid|NotValidYet/i,
    advice: "the agent's certificate is not valid yet: check the clocks of both machines",
  },
  {
    // Deno 2.9 words an expired one alike.
    pattern: /self.?signed|unable to (verify|get)|UnknownIssuer|unknown issuer|issuer certificate/i,
    advice:
      "the agent's certificate is not from an authority that this client trusts: give that authority's certificate as " +
      "tls.ca, and check that the agent's is in force",
  },
  {
    pattern: /wrong.version.number|InvalidContentType|corrupt message|packet length too long/i,
    advice: "what listens there speaks no TLS: start the agent with tls, or connect without it",
  },
];

/** The agent's word that the client's certificate is missing or not good. */
const refusedClient = /certificate.?required|alert.{0,12}certificate|unknown.?ca\b|decrypt error/i;

/** grpc-js adds the time to failures after the connection (and its TLS handshake) was made. */
const afterHandshake = /\(\d{4}-\d\d-\d\dT[\d:.]+Z\)/;

/** What to do about a connection that did not come about; `text` is the gRPC library's. */
export function connectAdvice(text: string, security: ConnectionSecurity): string {
  if (security === "plain") return afterHandshake.test(text) ? closedAtOnce : unlessListens;
  const known = reasons.find((it) => it.pattern.test(text));
  // With TLS 1.3 a client is through before the agent has looked at its certificate: all it sees is the end.
  if (refusedClient.test(text) || (known === undefined && afterHandshake.test(text))) {
    return clientAdvice[security];
  }
  return known?.advice ?? unlessListens;
}

const closedAtOnce =
  "what listens there closed the connection: if the agent has TLS, connect with tls; otherwise check that it is an agent";

const clientAdvice: Readonly<Record<Exclude<ConnectionSecurity, "plain">, string>> = {
  tls:
    "the agent ended the connection after the TLS handshake, as it does where it asks for a client certificate: " +
    "give yours as tls.cert and tls.key",
  "mutual-tls":
    "the agent ended the connection after the TLS handshake: the client certificate in tls.cert must be in force and from an " +
    "authority that the agent accepts (its clientCa)",
};

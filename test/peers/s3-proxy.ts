/**
 * An HTTP proxy in front of an S3 server that does what networks and busy services do: answers errors of its own, swallows requests and
 * answers, cuts connections in the middle of a body, damages bytes. Signatures stay valid, because the host that was signed is passed on.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";

/**
 * `hang`: no answer ever · `cut-request`: the connection ends while the request's body comes · `lose`: the server did it, and the
 * answer is lost · `cut-answer`: half of the answer's body comes · `damage`: a byte of the request's body changes ·
 * `delayMs`: later · a status and a code: what S3 answers, without asking it.
 */
export type HttpFault =
  | "hang"
  | "cut-request"
  | "lose"
  | "cut-answer"
  | "damage"
  | { readonly delayMs: number }
  | { readonly status: number; readonly code: string; readonly retryAfter?: string };

export interface S3Proxy extends AsyncDisposable {
  readonly endpoint: string;
  /** `PUT /bucket/key` … of every request, in order. */
  readonly seen: string[];
  /** For the next requests that match, in order. */
  plan(match: RegExp, ...faults: readonly HttpFault[]): void;
  /** Forgets what is planned. */
  heal(): void;
}

export async function startS3Proxy(target: string): Promise<S3Proxy> {
  const seen: string[] = [];
  const plans: { readonly match: RegExp; readonly faults: HttpFault[] }[] = [];
  const server = createServer((incoming, answer) => {
    const line = `${incoming.method} ${incoming.url}`;
    seen.push(line);
    const fault = plans.find(({ match, faults }) => match.test(line) && faults.length > 0);
    void serve(target, incoming, answer, fault?.faults.shift()).catch(() => answer.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port was given");
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    seen,
    plan: (match, ...faults) => void plans.push({ match, faults: [...faults] }),
    heal: () => void plans.splice(0),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await once(server.close(), "close");
    },
  };
}

async function serve(
  target: string,
  incoming: IncomingMessage,
  answer: ServerResponse,
  fault: HttpFault | undefined,
): Promise<void> {
  if (fault === "hang") return;
  if (fault === "cut-request") {
    await once(incoming, "data");
    incoming.destroy();
    return;
  }
  const body = await readAll(incoming);
  if (typeof fault === "object") {
    if ("status" in fault) return refuse(answer, fault);
    await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
  }
  if (fault === "damage") body[body.length >> 1] = (body[body.length >> 1] ?? 0) ^ 0xff;
  const upstream = request(target + incoming.url, {
    method: incoming.method ?? "GET",
    headers: incoming.headers,
  });
  upstream.end(body);
  const [reply] = (await once(upstream, "response")) as [IncomingMessage];
  const content = await readAll(reply);
  if (fault === "lose") {
    answer.destroy();
    return;
  }
  answer.writeHead(reply.statusCode ?? 500, reply.headers);
  if (fault === "cut-answer") {
    answer.write(content.subarray(0, content.length >> 1), () => answer.destroy());
  } else answer.end(content);
}

function refuse(
  answer: ServerResponse,
  { status, code, retryAfter }: Extract<HttpFault, { readonly status: number }>,
): void {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>injected</Message></Error>`;
  const pause = retryAfter === undefined ? {} : { "retry-after": retryAfter };
  answer.writeHead(status, { "content-type": "application/xml", ...pause }).end(body);
}

async function readAll(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/**
 * `@elastic/mockotlpserver` on a free port, as a process of its own, because it crashes on input that it cannot decode: to be alive at the
 * end is its word that it could. Prints its address, and then a line with the number of spans for each export that it decoded.
 */
import { createRequire } from "node:module";
import process from "node:process";

interface MockServer {
  readonly httpUrl: string;
  start(): Promise<void>;
}

/** The package has no types. */
const { MockOtlpServer } = createRequire(import.meta.url)("@elastic/mockotlpserver") as {
  readonly MockOtlpServer: new (options: {
    readonly services: readonly string[];
    readonly httpHostname: string;
    readonly httpPort: number;
    readonly logLevel: string;
    readonly onTrace: (request: DecodedExport) => void;
  }) => MockServer;
};

interface DecodedExport {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly { readonly spans: readonly unknown[] }[];
  }[];
}

const server = new MockOtlpServer({
  services: ["http"],
  httpHostname: "127.0.0.1",
  httpPort: 0,
  logLevel: "error",
  onTrace: ({ resourceSpans }) => {
    const scopes = resourceSpans.flatMap(({ scopeSpans }) => scopeSpans);
    console.log(`decoded ${scopes.reduce((sum, { spans }) => sum + spans.length, 0)}`);
  },
});
await server.start();
console.log(JSON.stringify({ url: server.httpUrl }));
process.stdin.resume().on("end", () => process.exit(0));

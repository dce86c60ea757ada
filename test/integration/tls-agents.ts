/**
 * Agents with certificates of many kinds in one process, for tests from other runtimes: `tls-agents.ts FOLDER`. Reads `NAME.json` of the
 * folder (a `ServerTls` each), prints one line of JSON with their addresses and an API key of the agent `keys`, and ends with its input.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { type Served, serve } from "../../src/agent.ts";

const folder = process.argv[2] ?? "";
const agents: Served[] = [];
const addresses: Record<string, string> = {};
let apiKey = "";

for (const file of await readdir(folder)) {
  if (!file.endsWith(".json")) continue;
  const name = file.slice(0, -".json".length);
  const served = await serve({
    data: join(folder, `data-${process.pid}-${name}`),
    grpc: "127.0.0.1:0",
    advertise: "localhost:0",
    http: false,
    telemetry: false,
    tls: JSON.parse(await readFile(join(folder, file), "utf8")),
    access: name === "keys" ? "keys" : undefined,
  });
  agents.push(served);
  addresses[name] = served.grpc.replace("127.0.0.1", "localhost");
  if (name !== "keys") continue;
  const rights = ["admin", "produce", "consume"].map((action) => ({ action, topicPrefix: "" }));
  apiKey = (await served.agent.api.createKey({ name: "test", rights, lifeMs: 0 }, {})).text;
}
process.stdout.write(`${JSON.stringify({ addresses, apiKey })}\n`);

process.stdin.resume();
await new Promise((resolve) => process.stdin.once("end", resolve));
await Promise.all(agents.map((it) => it.stop()));
process.exit(0);

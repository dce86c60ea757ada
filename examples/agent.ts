// An agent of your own: records in ./data, clients on port 7070, /metrics, /health and /ready on 8080. Run it with
// `bun run examples/agent.ts`, `node examples/agent.ts` or `deno run -A examples/agent.ts`; Ctrl-C drains and stops it.
import process from "node:process";
import { serve } from "../src/agent.ts"; // in your project: "@streamhouse/streamhouse/agent"

const [grpc = "127.0.0.1:7070", http = "127.0.0.1:8080", data = "./data"] = process.argv.slice(2);

const served = await serve({ data, grpc, http, signals: true });

console.log(`agent ${served.agent.agentId} serves clients on ${served.grpc}`);
console.log(`metrics on ${served.http}/metrics`);

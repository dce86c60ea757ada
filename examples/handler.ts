// The endpoints inside a web server of your own: the handler takes a Request and answers a Response, so it fits Bun.serve,
// Deno.serve, Hono (`app.mount("/streamhouse", handler)`), srvx and workers. Here it stands beside routes of the application.
import process from "node:process";
import { serve as listen } from "srvx";
import { embed } from "../src/agent.ts"; // in your project: "@streamhouse/streamhouse/agent"
import { createHandler } from "../src/http.ts"; // in your project: "@streamhouse/streamhouse/http"
import { bootstrap } from "../src/telemetry.ts"; // in your project: "@streamhouse/streamhouse/telemetry"

const [port = "8080"] = process.argv.slice(2);

const telemetry = bootstrap({ serviceName: "shop" });
const house = await embed({ telemetry });
await house.admin.createTopic("visits", { partitions: 1 });
const producer = house.producer();

const streamhouse = createHandler({ agent: house.agent, metrics: telemetry.metrics });

const server = listen({
  hostname: "127.0.0.1",
  port: Number(port),
  silent: true,
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname !== "/") return streamhouse(request);
    const { offset } = await producer.send({ topic: "visits", value: new Date().toISOString() });
    return new Response(`you are visitor ${(offset ?? 0) + 1}\n`);
  },
});
await server.ready();
console.log(`shop on ${server.url}, its metrics on ${server.url}metrics`);

process.once("SIGTERM", async () => {
  await server.close(true);
  await house.close();
  await telemetry.shutdown();
});

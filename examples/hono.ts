// The endpoints inside a web application of your own. The handler takes a Request and answers a Response, so it fits Hono as here,
// and Bun.serve, Deno.serve, srvx and workers just as well.
import process from "node:process";
import { Hono } from "hono";
import { serve as listen } from "srvx";
import { embed } from "../src/agent.ts"; // in your project: "@streamhouse/streamhouse/agent"
import { createHandler } from "../src/http.ts"; // in your project: "@streamhouse/streamhouse/http"
import { bootstrap } from "../src/telemetry.ts"; // in your project: "@streamhouse/streamhouse/telemetry"

const [port = "8080"] = process.argv.slice(2);

const telemetry = bootstrap({ serviceName: "shop" });
const house = await embed({ telemetry });
await house.admin.createTopic("visits", { partitions: 1 });
const producer = house.producer({ lingerMs: 0 });
const streamhouse = createHandler({ agent: house.agent, metrics: telemetry.metrics });

const app = new Hono();
app.get("/", async (c) => {
  const { offset } = await producer.send({ topic: "visits", value: new Date().toISOString() });
  return c.text(`you are visitor ${(offset ?? 0) + 1}\n`);
});
app.all("*", (c) => streamhouse(c.req.raw));

const server = listen({
  fetch: app.fetch,
  hostname: "127.0.0.1",
  port: Number(port),
  silent: true,
  gracefulShutdown: false,
});
await server.ready();
console.log(`shop on ${server.url}, its metrics on ${server.url}metrics`);

const stop = async () => {
  await server.close(true);
  await house.close();
  await telemetry.shutdown();
};
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void stop());

// The agent of docker-compose.yml and kubernetes.yml: it listens on every interface of its container, and clients are told the name that
// others reach it by. Traces go to OTEL_EXPORTER_OTLP_ENDPOINT.
import process from "node:process";
import { serve } from "../../src/agent.ts"; // in your project: "@streamhouse/streamhouse/agent"

const { ADVERTISE, DATA = "/data", GRPC = "0.0.0.0:7070", HTTP = "0.0.0.0:8080" } = process.env;

const served = await serve({
  data: DATA,
  grpc: GRPC,
  http: HTTP,
  advertise: ADVERTISE,
  // An agent without a topic yet must be reachable: somebody has to create the first one.
  readiness: "standby",
  // Needs `Authorization: Bearer …` for /metrics where it is set; the probes stay open.
  token: process.env.METRICS_TOKEN,
  signals: true,
});
console.log(`agent ${served.agent.agentId} serves clients on ${served.grpc}`);
console.log(`metrics on ${served.http}/metrics`);

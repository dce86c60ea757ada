/** `serve` as an application uses it: what it starts, what it says of itself, and that nothing is left when it has stopped. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connect } from "../../src/house/connect.ts";
import { type Served, type ServeOptions, serve } from "../../src/serve/serve.ts";
import { temporaryFolder } from "./ways.ts";

async function withServed(
  options: Partial<ServeOptions>,
  test: (served: Served, data: string) => Promise<void>,
): Promise<void> {
  const folder = await temporaryFolder();
  const addresses = { grpc: "127.0.0.1:0", http: "127.0.0.1:0" };
  const served = await serve({ data: folder.path, telemetry: false, ...addresses, ...options });
  try {
    await test(served, folder.path);
  } finally {
    await served.stop();
    await folder.remove();
  }
}

const status = async (url: string, init?: RequestInit) => (await fetch(url, init)).status;

describe("serve", () => {
  it("is ready when it holds leases, and healthy at once", async () => {
    await withServed({}, async (served) => {
      assert.equal(await status(`${served.http}/health`), 200);
      assert.equal(await status(`${served.http}/ready`), 503);
      const house = await connect({ agents: [served.grpc], telemetry: false });
      await house.admin.createTopic("t");
      assert.equal(await status(`${served.http}/ready`), 200);
      assert.ok(served.agent.hasActiveLeases());
      await house.close();
    });
  });

  it("serves /metrics without an SDK of the application's", async () => {
    await withServed({ telemetry: undefined }, async ({ http }) => {
      const response = await fetch(`${http}/metrics`);
      assert.equal(response.status, 200);
      assert.match(await response.text(), /^# TYPE streamhouse_lease_renewals_total counter$/m);
    });
  });

  it("measures nothing with telemetry: false, and says so", async () => {
    await withServed({}, async ({ http }) => assert.equal(await status(`${http}/metrics`), 404));
  });

  it("asks for the token where there is one, but not for the probes", async () => {
    await withServed({ telemetry: undefined, token: "secret" }, async ({ http }) => {
      assert.equal(await status(`${http}/metrics`), 401);
      const headers = { authorization: "Bearer secret" };
      assert.equal(await status(`${http}/metrics`, { headers }), 200);
      assert.equal(await status(`${http}/health`), 200);
    });
  });

  it("listens for HTTP nowhere with http: false", async () => {
    await withServed({ http: false }, async ({ http }) => assert.equal(http, ""));
  });

  it("tells clients the address that it is told to advertise", async () => {
    await withServed({ advertise: "agent.example:7070" }, async (served) => {
      const house = await connect({ agents: [served.grpc], telemetry: false });
      const { agents } = await house.admin.describeCluster();
      assert.deepEqual(
        agents.map((it) => it.address),
        ["agent.example:7070"],
      );
      await house.close();
    });
  });

  it("frees ports and folder when it has stopped, so that another can start at once", async () => {
    await withServed({}, async (served, data) => {
      await Promise.all([served.stop(), served.stop()]);
      assert.equal(served.agent.status().phase, "stopped");
      await assert.rejects(fetch(`${served.http}/health`));
      const next = await serve({
        data,
        grpc: served.grpc,
        http: served.http.slice("http://".length),
        telemetry: false,
      });
      assert.deepEqual([next.grpc, next.http], [served.grpc, served.http]);
      await next.stop();
    });
  });
});

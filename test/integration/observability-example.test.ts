/** The programs of examples/observability run as their containers would run them, by the runtime that runs this test. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Child, eventually, root } from "./child.ts";
import { parseMetrics, samplesOf } from "./metrics-text.ts";
import { temporaryFolder } from "./ways.ts";

describe("examples/observability", () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let agent: Child;
  let shop: Child;
  let agentUrl: string;
  let shopUrl: string;

  const total = async (
    url: string,
    name: string,
    labels: Readonly<Record<string, string>> = {},
  ) => {
    const samples = parseMetrics(await (await fetch(`${url}/metrics`)).text());
    return samplesOf(samples, name, labels).reduce((sum, { value }) => sum + value, 0);
  };

  before(async () => {
    folder = await temporaryFolder();
    agent = new Child(`${root}examples/observability/agent.ts`, [], {
      env: { DATA: folder.path, GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0" },
    });
    agent.process.stdin.end();
    const grpc = await agent.says("its address", (out) => /clients on (\S+)/.exec(out)?.[1]);
    agentUrl = await agent.says("its metrics", (out) => /on (http\S+)\/metrics/.exec(out)?.[1]);
    // Before anybody could make a topic: the Service of Kubernetes would hide it otherwise.
    assert.equal((await fetch(`${agentUrl}/ready`)).status, 200);
    shop = new Child(`${root}examples/observability/shop.ts`, [], {
      env: { AGENT: grpc, HOST: "127.0.0.1", PORT: "0", ORDERS_PER_SECOND: "100" },
    });
    shop.process.stdin.end();
    shopUrl = await shop.says("its metrics", (out) => /on (http\S+)\/metrics/.exec(out)?.[1]);
  });

  after(async () => {
    await shop?.end("SIGKILL");
    await agent?.end("SIGKILL");
    await folder.remove();
  });

  it("shop.ts sells and bills, and counts more slowly than it sells", async () => {
    const billed = { group_id: "billing" };
    await eventually("a hundred orders to be billed", async () => {
      return (await total(shopUrl, "streamhouse_records_consumed_total", billed)) >= 100;
    });
    await eventually("the other group to be behind", async () => {
      return (
        (await total(agentUrl, "streamhouse_group_lag_records", { group_id: "statistics" })) > 0
      );
    });
    assert.ok((await total(agentUrl, "streamhouse_records_written_total")) >= 100);
    assert.equal(await total(shopUrl, "streamhouse_send_errors_total"), 0);
  });

  it("both stop when they are told to, and exit with 0", async () => {
    const stopped = await shop.end("SIGTERM");
    assert.deepEqual([stopped.code, stopped.stderr.replace(/.*Warning.*\n.*\n/g, "")], [0, ""]);
    assert.equal((await agent.end("SIGTERM")).code, 0);
  });
});

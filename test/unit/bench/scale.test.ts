/** What the figures about scale rest on: requests are told apart by what they cost, and partitions count as settled when they are. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { PRICES } from "../../../bench/scale/cost.ts";
import { between, kindOf, startRequestCounter } from "../../../bench/scale/request-counter.ts";
import { settled } from "../../../bench/scale/settling.ts";

describe("the request counter", () => {
  it("tells requests apart as the price list does", () => {
    const kinds = [
      ["PUT", "/bucket/a/key?x-id=PutObject"],
      ["GET", "/bucket/a/key?x-id=GetObject"],
      ["GET", "/bucket?list-type=2&prefix=a"],
      ["HEAD", "/bucket/a/key"],
      ["POST", "/bucket/a/key?uploads"],
      ["POST", "/bucket?delete"],
      ["DELETE", "/bucket/a/key"],
    ].map(([method = "", url = ""]) => kindOf({ method, url }));
    assert.deepEqual(kinds, ["PUT", "GET", "LIST", "HEAD", "POST", "DELETE", "DELETE"]);
    assert.ok(PRICES.LIST === PRICES.PUT && PRICES.GET < PRICES.PUT && PRICES.DELETE === 0);
  });

  it("passes on what it counts, byte for byte, with the host that was asked for", async () => {
    const seen: string[] = [];
    const target = createServer(async (request, response) => {
      let body = "";
      for await (const bytes of request) body += String(bytes);
      seen.push(`${request.method} ${request.url} ${request.headers.host} ${body}`);
      response.writeHead(412, { etag: '"x"' }).end("taken");
    });
    await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve));
    const { port } = target.address() as AddressInfo;
    const counter = await startRequestCounter(`http://127.0.0.1:${port}`);
    try {
      const before = counter.counts();
      const answer = await fetch(`${counter.endpoint}/bucket/key`, { method: "PUT", body: "abc" });
      assert.deepEqual(
        [answer.status, answer.headers.get("etag"), await answer.text()],
        [412, '"x"', "taken"],
      );
      assert.deepEqual(seen, [`PUT /bucket/key ${new URL(counter.endpoint).host} abc`]);
      const counts = between(before, counter.counts());
      assert.deepEqual([counts.PUT, counts.GET], [1, 0]);
    } finally {
      await counter.stop();
      target.closeAllConnections();
      target.close();
    }
  });
});

describe("partitions", () => {
  it("have settled when all are held, by none of those that went, and nothing moves any more", async () => {
    const looks = [
      { a: 10 },
      { a: 6 },
      { a: 6, b: 3 },
      { a: 6, b: 4 },
      { b: 4 },
      { b: 9 },
      { b: 10 },
      { b: 10 },
    ].map((held) => new Map(Object.entries(held)));
    let look = 0;
    const database = {
      holders: async () => {
        const byRun = looks[Math.min(look, looks.length - 1)] ?? new Map<string, number>();
        look++;
        return { byRun, epochs: Math.min(look, looks.length) };
      },
    };
    const { at, byRun } = await settled(database, 10, new Set(["a"]), 120);
    assert.deepEqual([...byRun], [["b", 10]]);
    assert.ok(look > looks.length);
    assert.ok(performance.now() - at >= 120);
  });
});

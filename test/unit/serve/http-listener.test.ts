import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { listenHttp } from "../../../src/serve/http-listener.ts";

describe("HTTP listener", () => {
  it("answers with the handler on the real port, and refuses connections once stopped", async () => {
    const listener = await listenHttp(
      async (request) => new Response(new URL(request.url).pathname),
      "127.0.0.1:0",
    );
    assert.match(listener.url, /^http:\/\/127\.0\.0\.1:\d+$/);
    assert.equal(await (await fetch(`${listener.url}/ready`)).text(), "/ready");
    await Promise.all([listener.stop(), listener.stop()]);
    await assert.rejects(fetch(listener.url));
  });

  it("says which address is taken, and leaves nothing behind", async () => {
    const first = await listenHttp(async () => new Response("first"), "127.0.0.1:0");
    const address = first.url.slice("http://".length);
    await assert.rejects(
      listenHttp(async () => new Response("second"), address),
      (error: { code?: string; message?: string }) => {
        assert.equal(error.code, "ADDRESS_IN_USE");
        assert.ok(error.message?.includes(address));
        return true;
      },
    );
    assert.equal(await (await fetch(first.url)).text(), "first");
    await first.stop();
    const again = await listenHttp(async () => new Response("again"), address);
    assert.equal(await (await fetch(again.url)).text(), "again");
    await again.stop();
  });

  it("stops although a request hangs", async () => {
    let release: (response: Response) => void = () => {};
    const hanging = new Promise<Response>((resolve) => {
      release = resolve;
    });
    let asked: () => void = () => {};
    const arrived = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const listener = await listenHttp(() => {
      asked();
      return hanging;
    }, "127.0.0.1:0");
    const answer = fetch(listener.url).then(
      (response) => response.text(),
      () => "broken off",
    );
    await arrived;
    await listener.stop();
    release(new Response("late"));
    assert.ok(["late", "broken off"].includes(await answer));
  });

  it("refuses an address that is none", async () => {
    await assert.rejects(
      listenHttp(async () => new Response(""), "nowhere"),
      { code: "INVALID_ARGUMENT" },
    );
  });
});

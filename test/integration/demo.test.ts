/** The main job, `npm start`, with fewer records. */
import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Child, root } from "./child.ts";
import { temporaryFolder } from "./ways.ts";

const demo = (...args: string[]) => {
  const child = new Child(`${root}scripts/demo.ts`, args);
  child.process.stdin.end();
  return child;
};

const anyHttp = ["--http", "127.0.0.1:0"] as const;

describe("the main job", () => {
  it("sends flights, reads them back, checks them, and ends with 0 when told --once", async () => {
    const child = demo("--once", "--records", "20000", ...anyHttp);
    const { code, stdout, stderr } = await child.finished();
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^sent +[\d,]+ records\/s, [\d.]+ MB\/s, durable and acknowledged$/m);
    assert.match(stdout, /^end to end +p50 \d+ ms, p99 \d+ ms/m);
    assert.match(stdout, /^ok +count: 20,000 acknowledged, 20,000 read, 20,000 expected$/m);
    assert.match(stdout, /^ok +checksum: ([\da-f]{16}) sent, \1 read$/m);
    assert.match(stdout, /^ok +lag: 0$/m);
    assert.match(stdout, /^What came out is what went in\.$/m);
  });

  it("serves metrics of producer, consumer and agent until Ctrl-C", async () => {
    const child = demo("--records", "1000", ...anyHttp);
    const http = await child.says("where it serves", (out) => {
      return /^serving (http:\S+)\/metrics/m.exec(out)?.[1];
    });
    const text = await (await fetch(`${http}/metrics`)).text();
    for (const family of [
      "records_sent_total",
      "records_written_total",
      "records_consumed_total",
    ]) {
      assert.match(text, new RegExp(`^streamhouse_${family}\\{.*topic="flights".*\\} 1000$`, "m"));
    }
    assert.equal((await fetch(`${http}/health`)).status, 200);
    assert.equal((await fetch(`${http}/ready`)).status, 200);
    const { code, stderr } = await child.end("SIGINT");
    assert.equal(code, 0, stderr);
  });

  it("takes the lines of any file, and keeps the data where it is told to", async () => {
    const folder = await temporaryFolder();
    const input = join(folder.path, "some lines.ndjson");
    const lines = Array.from({ length: 3_000 }, (_, i) => (i % 7 === 0 ? "" : `{"line":${i}}`));
    await writeFile(input, `${lines.join("\n")}\n`);
    const data = join(folder.path, "data");
    for (const topic of ["some-lines.ndjson", "some-lines.ndjson-2"]) {
      const child = demo("--once", "--input", input, "--data", data, ...anyHttp);
      const { code, stdout, stderr } = await child.finished();
      assert.equal(code, 0, stderr);
      assert.ok(stdout.includes(`to topic ${topic} with`), stdout);
      assert.match(stdout, /^ok +count: 3,000 acknowledged, 3,000 read, 3,000 expected$/m);
    }
    assert.ok((await readdir(data)).length > 0);
    await folder.remove();
  });

  it("ends in one line when nobody reads its output any more", async () => {
    const child = demo("--once", ...anyHttp);
    await child.says("what it sends", (out) => out.includes("sending 200,000"));
    child.process.stdout.destroy();
    const { code, stderr } = await child.finished();
    assert.deepEqual([code, stderr], [1, "demo: nobody reads the output any more\n"]);
  });

  it("says in one line what is wrong: a port that is taken, a file that is not there, a mistake", async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
    const { port } = blocker.address() as { port: number };
    const taken = await demo("--once", "--http", `127.0.0.1:${port}`).finished();
    assert.equal(taken.code, 1);
    assert.match(taken.stderr, new RegExp(`^demo: cannot listen on 127.0.0.1:${port}: .*--http`));
    await new Promise((resolve) => blocker.close(resolve));
    const missing = await demo("--once", "--input", "/no/such/file", ...anyHttp).finished();
    assert.deepEqual([missing.code, missing.stdout], [1, ""]);
    assert.match(missing.stderr, /^demo: cannot read \/no\/such\/file: ENOENT/);
    const mistake = await demo("--onec").finished();
    assert.deepEqual([mistake.code, mistake.stdout], [2, ""]);
    assert.match(mistake.stderr, /^demo: unknown option "--onec"/);
  });
});

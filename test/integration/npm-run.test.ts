/** The command line and the main job as README names them, through npm: signals and exit codes pass. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { describe, it } from "node:test";
import { eventually, root } from "./child.ts";
import { temporaryFolder } from "./ways.ts";

/** npm is the machine's own, the same for every runtime that runs this test: once is enough. */
const skip = "Deno" in globalThis || "Bun" in globalThis ? "npm runs Node" : false;

describe("npm run", { skip }, () => {
  for (const [signal, times] of [
    ["SIGTERM", 1],
    // A terminal's Ctrl-C reaches npm and the program, and npm passes its own on.
    ["SIGINT", 2],
  ] as const) {
    it(`passes ${signal} on to the agent, which drains, and its exit code 0 back`, async () => {
      const folder = await temporaryFolder();
      const args = ["run", "--silent", "streamhouse", "--", "agent", "--data", folder.path];
      const addresses = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
      const npm = spawn("npm", [...args, ...addresses], { cwd: root });
      const closed = once(npm, "close");
      let stdout = "";
      npm.stdout.on("data", (chunk) => {
        stdout += chunk;
      });
      const http = await eventually(
        "the agent to serve",
        () => /"http":"([^"]+)"/.exec(stdout)?.[1],
      );
      for (let i = 0; i < times; i++) process.kill(npm.pid ?? 0, signal);
      const [code] = await closed;
      assert.equal(code, 0);
      await assert.rejects(fetch(`${http}/health`), "the agent runs on");
      await folder.remove();
    });
  }
});

/**
 * Broke: on Node a program with `servePrometheus` did not end while a scraper kept its connection, and Prometheus keeps it.
 * Why: the server was unreferenced, its connections were not.
 * Cure: they are too.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { eventually, runtimeCommand } from "../integration/child.ts";

const program = fileURLToPath(new URL("kept-scrape-connection-child.ts", import.meta.url));

/** Scrapes over one connection, again and again, for as long as there is one. */
async function scrape(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  const ask = () => socket.write(`GET /metrics HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
  socket.on("data", () => setTimeout(ask, 50));
  socket.on("error", () => {});
  ask();
  return socket;
}

describe("a program that serves its metrics", () => {
  it("ends when its work does, although a scraper keeps its connection", async () => {
    const [command, ...args] = runtimeCommand(program);
    const child = spawn(command, [...args], { stdio: ["pipe", "pipe", "inherit"] });
    const closed = once(child, "close");
    try {
      const [line] = await once(child.stdout, "data");
      const socket = await scrape(String(line).trim());
      await once(socket, "data");
      child.stdin.end();
      await eventually("the program to end", () => child.exitCode !== null);
      socket.destroy();
      const [code] = await closed;
      assert.equal(code, 0);
    } finally {
      child.kill();
    }
  });
});

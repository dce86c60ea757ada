/** What is published works where users are: packed, installed into an empty project, and run on every runtime. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { build } from "esbuild";
import { root, runtimePath } from "../../scripts/runtimes.ts";
import { command, installPacked, scratch } from "./packed.ts";

const roundTrip = join(root, "test/package/round-trip.mjs");
const bin = (name: string): string => join(root, "node_modules/.bin", name);

describe("the packed package", () => {
  const folder = scratch("packed");
  const project = join(folder.path, "project");

  before(async () => {
    await installPacked(folder.path);
    copyFileSync(roundTrip, join(project, "round-trip.mjs"));
  });
  after(() => folder.remove());

  for (const runtime of ["node-oldest", "node", "bun", "deno"] as const) {
    it(`sends, consumes and is measured on ${runtime}`, async () => {
      const args = runtime === "deno" ? ["run", "-A"] : [];
      const ran = await command(runtimePath(runtime), [...args, "round-trip.mjs"], project);
      assert.equal(ran.code, 0, ran.stderr);
      assert.match(ran.stdout, /round trip ok/);
    });
  }

  it("runs the README's own agent.ts with `bun run agent.ts`", async () => {
    const readme = readFileSync(join(root, "README.md"), "utf8");
    const program = /```ts\n(\/\/ agent\.ts\n[\s\S]*?)```/.exec(readme)?.[1];
    assert.ok(program, "README.md has no ```ts block that begins with `// agent.ts`");
    writeFileSync(join(project, "agent.ts"), program);
    // Nobody's ports but ours: the README's ports may be in use on this machine.
    const free = program.replace(/:(7070|8080)"/g, ':0"');
    writeFileSync(join(project, "agent.ts"), free);
    const child = spawn(runtimePath("bun"), ["run", "agent.ts"], { cwd: project });
    let output = "";
    const address = await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no address: ${output}`)), 30_000);
      const read = (chunk: Buffer) => {
        output += chunk.toString();
        const found = /http:\/\/127\.0\.0\.1:\d+/.exec(output);
        if (!found) return;
        clearTimeout(timer);
        resolve(found[0]);
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
    });
    const health = await fetch(`${address}/health`);
    assert.equal(health.status, 200);
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    child.kill("SIGTERM");
    assert.equal(await ended, 0, output);
  });

  it("has a bin that answers --version and --help", async () => {
    const npm = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    const program = join(project, "node_modules/@streamhouse/streamhouse/dist/cli.js");
    const version = await command(runtimePath("node-oldest"), [program, "--version"], project);
    assert.equal(version.stdout.trim(), npm.version, version.stderr);
    const help = await command(runtimePath("node-oldest"), [program, "--help"], project);
    assert.equal(help.code, 0);
    assert.match(help.stdout, /produce/);
  });

  it("holds no `using` syntax, which the oldest Node does not know", async () => {
    const dist = join(project, "node_modules/@streamhouse/streamhouse/dist");
    const found = await command("grep", ["-rlE", "^\\s*(await )?using ", dist, "--include=*.js"]);
    assert.equal(found.stdout, "");
  });

  it("carries types that resolve for every door (attw)", async () => {
    const args = ["--pack", root, "--profile", "esm-only"];
    const ran = await command(runtimePath("node"), [bin("attw"), ...args], folder.path);
    assert.equal(ran.code, 0, ran.stdout + ran.stderr);
  });

  it("is well formed (publint)", async () => {
    const ran = await command(runtimePath("node"), [bin("publint"), "--strict", root], folder.path);
    assert.equal(ran.code, 0, ran.stdout + ran.stderr);
  });
});

describe("the files that JSR publishes", () => {
  const folder = scratch("jsr");
  after(() => folder.remove());

  it("pass `deno publish --dry-run`, and a Deno program produces and consumes with them alone", async () => {
    const dry = await command(runtimePath("deno"), ["publish", "--dry-run", "--allow-dirty"]);
    assert.equal(dry.code, 0, dry.stdout + dry.stderr);
    const listed = Array.from(
      (dry.stdout + dry.stderr).matchAll(/file:\/\/(\S+) \(/g),
      (m) => m[1],
    );
    assert.ok(listed.length > 50, `only ${listed.length} files listed`);
    for (const path of listed) {
      if (path === undefined) continue;
      const target = join(folder.path, "published", path.slice(root.length));
      mkdirSync(dirname(target), { recursive: true });
      cpSync(path, target);
    }
    // JSR rewrites bare names to these `npm:` specifiers when it publishes; here the program's import map does.
    const jsr = JSON.parse(readFileSync(join(root, "jsr.json"), "utf8")) as {
      name: string;
      imports: Record<string, string>;
      exports: Record<string, string>;
    };
    const doors = Object.entries(jsr.exports).map(([door, path]) => [
      join(jsr.name, door),
      `./published/${path.slice(2)}`,
    ]);
    const imports = { ...jsr.imports, ...Object.fromEntries(doors) };
    writeFileSync(join(folder.path, "deno.json"), JSON.stringify({ imports }));
    copyFileSync(roundTrip, join(folder.path, "round-trip.mjs"));
    const args = ["run", "-A", "round-trip.mjs"];
    const ran = await command(runtimePath("deno"), args, folder.path);
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /round trip ok/);
  });
});

/** What esbuild puts into one file for an application that imports this door. */
async function bundleOf(
  door: string,
): Promise<{ readonly inputs: readonly string[]; readonly text: string }> {
  const result = await build({
    entryPoints: [join(root, door)],
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    format: "esm",
    logLevel: "silent",
    external: ["@node-rs/crc32"],
  });
  return { inputs: Object.keys(result.metafile.inputs), text: result.outputFiles[0]?.text ?? "" };
}

const sdk = /@opentelemetry\/(sdk|exporter|otlp|resources|core|context)/;

describe("a bundle of the clients' door", () => {
  it("holds no SDK, no database, no agent and no server", async () => {
    const { inputs, text } = await bundleOf("src/index.ts");
    const server = /src\/(agent|metadata|storage|serve|http|cli|testing)\/|srvx|nice-grpc-server/;
    const database = /node:sqlite|postgres|@aws-sdk/;
    assert.deepEqual(
      inputs.filter((path) => sdk.test(path) || server.test(path) || database.test(path)),
      [],
    );
    assert.equal(/from ?["']node:sqlite["']/.test(text), false);
    assert.ok(inputs.some((path) => path.includes("src/producer/")));
  });
});

describe("a bundle of the exposition's door", () => {
  it("holds nothing of StreamHouse but the exposition and what is at the bottom of it", async () => {
    const { inputs } = await bundleOf("src/prometheus.ts");
    const ours = inputs.filter((path) => /(^|\/)src\//.test(path) && !/node_modules/.test(path));
    assert.deepEqual(
      ours.filter((path) => !/src\/(prometheus(\.ts|\/)|core\/)/.test(path)),
      [],
    );
    assert.ok(ours.some((path) => path.includes("src/prometheus/serializer")));
    assert.deepEqual(
      inputs.filter((path) => sdk.test(path) || /grpc|protobuf/.test(path)),
      [],
    );
  });
});

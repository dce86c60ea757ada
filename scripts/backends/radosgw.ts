/**
 * A real S3 server, Ceph's radosgw from Debian's packages, on free ports of 127.0.0.1, with its data in memory: for tests that need
 * true S3 semantics (signatures, conditional PUT with one winner, ranges, listings, multipart), and for `npm run chaos`. Several can
 * run side by side. Its processes are children that end with ours.
 *
 * radosgw is a gateway to a Ceph cluster; the smallest one is a monitor that knows the members and one daemon that holds the objects.
 * Oddities of its version 16 that tests meet: CompleteMultipartUpload ignores If-None-Match.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { BoundProcess, freePorts } from "./bound-process.ts";

export interface RadosgwOptions {
  /** Buckets to create. Default: `streamhouse`. The first is the one that `url` names. */
  readonly buckets?: readonly string[] | undefined;
  /** Most bytes of objects, kept in memory. Default 2 GiB. */
  readonly bytesMax?: number | undefined;
}

export interface Radosgw extends AsyncDisposable {
  /** `http://127.0.0.1:port`; path-style addresses only. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** For child processes: the keys under the names that the AWS SDK's credential chain reads, and nothing of the machine's own. */
  readonly env: Readonly<Record<string, string>>;
  /** Of the gateway's own process, for signals. */
  readonly pid: number;
  /** `s3://bucket/prefix?endpoint=…&region=…&pathStyle=true`, at `endpoint` or at a proxy in front of it. */
  url(prefix: string, endpoint?: string): string;
  /** Idempotent. */
  stop(): Promise<void>;
}

const programs = [
  "ceph",
  "ceph-authtool",
  "monmaptool",
  "ceph-mon",
  "ceph-osd",
  "radosgw-admin",
  "radosgw",
];
const packages = "radosgw ceph-mon ceph-osd ceph-base ceph-common";

/** Each step takes a fraction of a second; the machine may be busy with a whole suite. */
const startMsMax = 120_000;
/** Another process may take a port between our look and the server's. */
const startsMax = 3;

/** Why there can be no radosgw here, and what to install; undefined if there can. */
export function whyNoRadosgw(): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const missing = programs.filter((name) => !folders.some((it) => existsSync(join(it, name))));
  if (missing.length === 0) return undefined;
  return `${missing.join(", ")} not found: apt-get install --no-install-recommends ${packages}`;
}

/** Resolves when the server answers and its buckets are there. @throws Error saying what to install, or with the server's output */
export async function startRadosgw(options: RadosgwOptions = {}): Promise<Radosgw> {
  const why = whyNoRadosgw();
  if (why !== undefined) throw new Error(`no radosgw on this machine: ${why}`);
  for (let tries = 1; ; tries++) {
    try {
      return await startOnce(options);
    } catch (error) {
      const raced = /address already in use|EADDRINUSE|unable to bind/i.test(String(error));
      if (!raced || tries === startsMax) throw error;
    }
  }
}

async function startOnce(options: RadosgwOptions): Promise<Radosgw> {
  const folder = mkdtempSync(join(tmpdir(), "radosgw-"));
  const running: BoundProcess[] = [];
  const stop = async () => {
    await Promise.all(running.map((it) => it.kill()));
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const [port = 0, monitorPort = 0] = await freePorts(2);
    const cluster = new Cluster(folder, port, monitorPort, options.bytesMax ?? 2 ** 31);
    const gateway = await cluster.start((it) => void running.push(it));
    const endpoint = `http://127.0.0.1:${port}`;
    const buckets = options.buckets ?? ["streamhouse"];
    await createBuckets(endpoint, buckets);
    return describe(endpoint, buckets[0] ?? "streamhouse", gateway.pid ?? 0, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

const keys = { accessKeyId: "STREAMHOUSETEST", secretAccessKey: "a-secret-of-tests-only" } as const;
const region = "us-east-1";

function describe(
  endpoint: string,
  bucket: string,
  pid: number,
  stop: () => Promise<void>,
): Radosgw {
  let stopping: Promise<void> | undefined;
  const stopOnce = () => {
    stopping ??= stop();
    return stopping;
  };
  return {
    endpoint,
    region,
    bucket,
    ...keys,
    pid,
    env: {
      AWS_ACCESS_KEY_ID: keys.accessKeyId,
      AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
      AWS_SESSION_TOKEN: "",
      AWS_EC2_METADATA_DISABLED: "true",
    },
    url(prefix, at = endpoint) {
      const query = new URLSearchParams({ endpoint: at, region, pathStyle: "true" });
      return `s3://${bucket}/${prefix}?${query}`;
    },
    stop: stopOnce,
    [Symbol.asyncDispose]: stopOnce,
  };
}

async function createBuckets(endpoint: string, buckets: readonly string[]): Promise<void> {
  const { CreateBucketCommand, S3Client } = await import("@aws-sdk/client-s3");
  const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials: keys });
  try {
    for (const Bucket of buckets) await client.send(new CreateBucketCommand({ Bucket }));
  } finally {
    client.destroy();
  }
}

/** The Ceph cluster below the gateway. Each step waits until the one before has taken effect. */
class Cluster {
  readonly #folder: string;
  readonly #port: number;
  readonly #monitor: string;
  readonly #id = randomUUID();

  constructor(folder: string, port: number, monitorPort: number, bytesMax: number) {
    this.#folder = folder;
    this.#port = port;
    this.#monitor = `[v2:127.0.0.1:${monitorPort}]`;
    for (const name of ["mon", "osd", "rgw"]) mkdirSync(join(folder, name));
    writeFileSync(join(folder, "ceph.conf"), this.#configuration(bytesMax));
  }

  /** Answers the gateway. Whatever was started is told to `started`, also when a later step fails. */
  async start(started: (process: BoundProcess) => void): Promise<BoundProcess> {
    const begin = (program: string, args: readonly string[]): BoundProcess => {
      const server = new BoundProcess(program, ["-c", "ceph.conf", ...args, "-f"], {
        cwd: this.#folder,
      });
      started(server);
      return server;
    };
    await this.#prepareMonitor();
    const monitor = begin("ceph-mon", ["-i", "a"]);
    await monitor.until("the monitor's quorum", startMsMax, () => this.#succeeds("ceph", ["-s"]));
    const osd = randomUUID();
    await this.#run("ceph", ["osd", "new", osd]);
    await this.#addKey("osd.0", ["mon", "allow profile osd", "osd", "allow *"]);
    await this.#run("ceph-osd", ["-i", "0", "--mkfs", "--osd-uuid", osd]);
    const store = begin("ceph-osd", ["-i", "0"]);
    await store.until("its place in the cluster", startMsMax, async () =>
      / 1 up/.test(await this.#run("ceph", ["osd", "stat"])),
    );
    await this.#createUser();
    const gateway = begin("radosgw", ["-n", "client.admin"]);
    await gateway.until("an answer over HTTP", startMsMax, async () => {
      const answer = await fetch(`http://127.0.0.1:${this.#port}`).catch(() => undefined);
      await answer?.body?.cancel();
      return answer?.ok === true;
    });
    return gateway;
  }

  async #prepareMonitor(): Promise<void> {
    const keyring = "keyring";
    const all = (...who: string[]) => who.flatMap((it) => ["--cap", it, "allow *"]);
    const make = ["--gen-key", "-n"];
    await this.#run("ceph-authtool", ["--create-keyring", keyring, ...make, "mon.", ...all("mon")]);
    const caps = all("mon", "osd", "mgr");
    await this.#run("ceph-authtool", [keyring, ...make, "client.admin", ...caps]);
    const map = [
      "--create",
      "--clobber",
      "--fsid",
      this.#id,
      "--addv",
      "a",
      this.#monitor,
      "monmap",
    ];
    await this.#run("monmaptool", map);
    const first = ["-i", "a", "--mkfs", "--monmap", "monmap", "--keyring", keyring];
    await this.#run("ceph-mon", first);
  }

  async #addKey(name: string, capabilities: readonly string[]): Promise<void> {
    const key = await this.#run("ceph", ["auth", "get-or-create", name, ...capabilities]);
    appendFileSync(join(this.#folder, "keyring"), key);
  }

  async #createUser(): Promise<void> {
    const { accessKeyId, secretAccessKey } = keys;
    const user = ["--uid=test", "--display-name=test"];
    const secrets = [`--access-key=${accessKeyId}`, `--secret-key=${secretAccessKey}`];
    await this.#run("radosgw-admin", ["user", "create", ...user, ...secrets]);
  }

  async #succeeds(program: string, args: readonly string[]): Promise<boolean> {
    return this.#run(program, args).then(
      () => true,
      () => false,
    );
  }

  /** @throws Error with its output if it fails or takes too long */
  #run(program: string, args: readonly string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = spawn(program, ["-c", "ceph.conf", ...args], {
        cwd: this.#folder,
        stdio: ["ignore", "pipe", "pipe"],
        timeout: startMsMax,
        killSignal: "SIGKILL",
      });
      let output = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => {
          // What goes wrong comes first; a program that aborts dumps its whole memory of events behind it.
          output = (output + text).slice(0, 4_000);
        });
      }
      child.on("error", reject);
      child.on("close", (code) => {
        if (code === 0) resolve(output);
        else reject(new Error(`${program} ${args.join(" ")}: exit code ${code}: ${output}`));
      });
    });
  }

  /** One copy of everything, kept in memory. */
  #configuration(bytesMax: number): string {
    const at = (name: string) => join(this.#folder, name);
    return [
      "[global]",
      `fsid = ${this.#id}`,
      `mon host = ${this.#monitor}`,
      `keyring = ${at("keyring")}`,
      // The gateway signs in whatever the cluster asks for, so without keys it would not start.
      "auth cluster required = cephx",
      "auth service required = cephx",
      "auth client required = cephx",
      "osd pool default size = 1",
      "osd pool default min size = 1",
      "osd pool default pg num = 1",
      "osd pool default pg autoscale mode = off",
      "mon allow pool size one = true",
      "mon warn on pool no redundancy = false",
      "osd crush chooseleaf type = 0",
      "osd objectstore = memstore",
      `memstore device bytes = ${bytesMax}`,
      // Each new pool is a decision of the monitor's, which otherwise waits up to a second for more to decide.
      "paxos propose interval = 0.02",
      "paxos min wait = 0.01",
      "public addr = 127.0.0.1",
      "cluster addr = 127.0.0.1",
      `run dir = ${this.#folder}`,
      `admin socket = ${at("$name.asok")}`,
      "pid file =",
      "log file =",
      "log to stderr = true",
      "err to stderr = true",
      `mon data = ${at("mon")}`,
      `osd data = ${at("osd")}`,
      "[client.admin]",
      `rgw frontends = beast endpoint=127.0.0.1:${this.#port} tcp_nodelay=1`,
      `rgw data = ${at("rgw")}`,
      "",
    ].join("\n");
  }
}

/**
 * docs/deployment.md and its recipes name commands, options, files, ports and versions that there are. No container engine, no cluster and
 * no cloud is needed to look at them.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parse, parseAllDocuments } from "yaml";
import type { CliIo } from "../../src/cli/cli-io.ts";
import { runCli } from "../../src/cli/streamhouse.ts";
import { resolvePostgresOptions } from "../../src/metadata/postgres-options.ts";
import { parseS3Url } from "../../src/storage/s3-url.ts";
import { fencedBlocks, readRules } from "./monitoring.ts";
import { root } from "./source-tree.ts";

const folder = "examples/deployment";
const document = "docs/deployment.md";
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const here = (name: string): string => read(`${folder}/${name}`);

/** Every line of the document's shell blocks. */
const lines = fencedBlocks(document, "sh").flatMap((block) => block.trim().split("\n"));

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly command?: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly volumes?: readonly string[];
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec?: {
    readonly selector?: Readonly<Record<string, unknown>>;
    readonly serviceName?: string;
    readonly replicas?: number;
    readonly minReadySeconds?: number;
    readonly publishNotReadyAddresses?: boolean;
    readonly maxUnavailable?: number;
    readonly ports?: readonly { readonly name: string; readonly port: number }[];
    readonly template?: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: {
        readonly serviceAccountName: string;
        readonly terminationGracePeriodSeconds: number;
        readonly containers: readonly Container[];
      };
    };
  };
}

interface Container {
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly [probe: `${string}Probe`]: {
    readonly httpGet: { readonly path: string; readonly port: string };
  };
}

const compose = parse(here("docker-compose.yml"), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const manifests = parseAllDocuments(here("kubernetes.yml")).map((it) => {
  assert.deepEqual(it.errors, []);
  return it.toJS() as Manifest;
});
const workload = manifests.find(({ kind }) => kind === "StatefulSet");
const pod = workload?.spec?.template?.spec;
const container = pod?.containers[0];

/** What `streamhouse … --help` prints. Fails for a command that does not exist. */
async function helpOf(command: readonly string[]): Promise<string> {
  const printed: string[] = [];
  const io: CliIo = {
    stdin: async function* () {},
    stdout: {
      closed: new AbortController().signal,
      write: async (texts: readonly (string | Uint8Array)[]) => {
        printed.push(...texts.map(String));
      },
    } as unknown as CliIo["stdout"],
    stderr: (line: string) => void printed.push(line),
    stop: new AbortController().signal,
  };
  assert.equal(await runCli([...command, "--help"], io), 0, printed.join("\n"));
  return printed.join("\n");
}

/** Options of a command line that its command does not have. */
async function unknownOptions(words: readonly string[]): Promise<readonly string[]> {
  const command = words.slice(0, words[0] === "topic" ? 2 : 1);
  const help = await helpOf(command);
  const options = words.filter((it) => it.startsWith("--")).map((it) => it.split("=")[0] ?? "");
  return options.filter((option) => !new RegExp(`${option}\\b(?!-)`).test(help));
}

function optionOf(args: readonly string[], option: string): string {
  const found = args.find((it) => it.startsWith(`--${option}=`));
  return found?.slice(option.length + 3) ?? "";
}

/** The words of a shell line, quotes taken off. */
const wordsOf = (line: string): string[] =>
  Array.from(line.matchAll(/"([^"]*)"|(\S+)/g), ([, quoted, bare]) => quoted ?? bare ?? "");

/** What docker compose puts in place of `${NAME:-default}` and `${NAME:?message}` when only the bucket is named. */
const interpolated = (text: string): string =>
  text
    .replace(/\$\{BUCKET:\?[^}]*\}/g, "my-bucket")
    .replace(/\$\{\w+:-([^}]*)\}/g, (_, fallback: string) => fallback);

describe("docs/deployment.md", () => {
  it("has commands that the command line knows, with options that they have", async () => {
    const commands = lines.filter((line) => line.startsWith("streamhouse "));
    assert.ok(commands.length >= 4, `${commands.length} commands`);
    for (const line of commands) {
      assert.deepEqual(await unknownOptions(wordsOf(line).slice(1)), [], line);
    }
  });

  it("has URLs of stores and databases that are read as such", () => {
    const urls = lines.flatMap(wordsOf);
    const stores = urls.filter((it) => it.startsWith("s3://"));
    const databases = urls
      .map((it) => it.replace(/^(?:--from-literal=url|STREAMHOUSE_METADATA)="?([^"]*)"?$/, "$1"))
      .filter((it) => it.startsWith("postgres://"));
    assert.ok(stores.length >= 1 && databases.length >= 1);
    for (const url of stores) assert.equal(parseS3Url(url).bucket, "my-bucket");
    for (const url of databases) assert.equal(resolvePostgresOptions({ url }).hosts.length, 2);
  });

  it("names files of this repository that there are", () => {
    const paths = lines.flatMap((line) => line.match(/\bexamples\/[\w./-]+/g) ?? []);
    assert.ok(paths.length >= 4);
    assert.deepEqual(
      paths.filter((path) => !existsSync(join(root, path))),
      [],
    );
  });

  it("names the optional packages by the versions that the tests run with", () => {
    const { devDependencies } = JSON.parse(read("package.json")) as {
      readonly devDependencies: Readonly<Record<string, string>>;
    };
    for (const text of [read(document), here("Dockerfile")]) {
      for (const name of ["@aws-sdk/client-s3", "postgres"]) {
        const named = new RegExp(`(?:^|\\s)${name}@([\\d.]+)`, "m").exec(text)?.[1];
        assert.equal(named, devDependencies[name], name);
      }
    }
  });

  it("points to alerts that there are", () => {
    const names = read(document).match(/\[StreamHouse\w+\]/g) ?? [];
    const alerts = readRules().alerts.map(({ alert }) => `[${alert}]`);
    assert.ok(names.length >= 9);
    assert.deepEqual(
      names.filter((name) => !alerts.includes(name)),
      [],
    );
  });
});

describe("the recipe for Compose", () => {
  const agents = Object.entries(compose.services).filter(([name]) => name.startsWith("agent-"));

  it("starts three agents with options that there are, over one bucket and the database beside them", async () => {
    assert.equal(agents.length, 3);
    const stores = new Set<string>();
    for (const [name, { command = [], depends_on: needs = {} }] of agents) {
      const args = command.map(interpolated);
      assert.deepEqual(await unknownOptions(args), [], name);
      stores.add(JSON.stringify(parseS3Url(optionOf(args, "store"))));
      const [database] = resolvePostgresOptions({ url: optionOf(args, "metadata") }).hosts;
      assert.ok(database !== undefined && database.host in compose.services);
      assert.ok(database.host in needs);
      assert.equal(optionOf(args, "agent-id"), name);
    }
    assert.equal(stores.size, 1);
  });

  it("tells clients an address at which each agent is really open, on this machine only", () => {
    for (const [name, { command = [], ports = [] }] of agents) {
      const listened = optionOf(command, "grpc").split(":")[1];
      assert.equal(optionOf(command, "advertise"), `localhost:${listened}`, name);
      assert.ok(ports.includes(`127.0.0.1:${listened}:${listened}`), name);
      for (const port of ports) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/);
    }
  });

  it("builds from what there is, names images by a version, and declares its volumes", () => {
    for (const [name, { build, image, volumes = [] }] of Object.entries(compose.services)) {
      if (image !== undefined) assert.match(image, /:v?\d+\.\d+(\.\d+)?$/, name);
      if (build !== undefined) {
        assert.ok(existsSync(join(root, folder, build.context, build.dockerfile)), name);
      }
      for (const volume of volumes) assert.ok((volume.split(":")[0] ?? "") in compose.volumes);
    }
  });
});

describe("the image", () => {
  it("copies and starts what there is, and its context holds that", () => {
    const dockerfile = here("Dockerfile");
    const copied = Array.from(dockerfile.matchAll(/^COPY (.+)$/gm), ([, line = ""]) =>
      line.split(" ").slice(0, -1),
    ).flat();
    const program = /ENTRYPOINT \["node", "([^"]+)"\]/.exec(dockerfile)?.[1] ?? "none";
    const ignored = here("Dockerfile.dockerignore");
    for (const path of [...copied, program]) assert.ok(existsSync(join(root, path)), path);
    for (const path of copied) assert.ok(ignored.includes(`!${path}\n`), `${path} is ignored`);
  });
});

describe("the manifests for Kubernetes", () => {
  it("are agents, the ways to them, and what keeps them from going all at once", () => {
    assert.deepEqual(
      manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`),
      [
        "ServiceAccount streamhouse-agent",
        "Service streamhouse",
        "Service streamhouse-agent",
        "PodDisruptionBudget streamhouse-agent",
        "StatefulSet streamhouse-agent",
      ],
    );
  });

  it("start agents with options that there are, over URLs that are read as such", async () => {
    const args = container?.args ?? [];
    assert.deepEqual(await unknownOptions(args), []);
    parseS3Url(optionOf(args, "store"));
    const variables = container?.env.map(({ name }) => name) ?? [];
    for (const [, name = ""] of args.join(" ").matchAll(/\$\((\w+)\)/g)) {
      assert.ok(variables.includes(name), `$(${name}) is no variable of the container`);
    }
    assert.equal(optionOf(args, "readiness"), "standby");
  });

  it("give each agent the address at which its headless service finds it, also while it drains", () => {
    const headless = manifests.find(
      ({ kind, metadata }) => kind === "Service" && metadata.name === workload?.spec?.serviceName,
    );
    assert.equal(headless?.spec?.publishNotReadyAddresses, true);
    const advertised = optionOf(container?.args ?? [], "advertise");
    const port = headless?.spec?.ports?.find(({ name }) => name === "grpc")?.port;
    assert.equal(advertised, `$(POD_NAME).${headless?.metadata.name}:${port}`);
  });

  it("select pods that there are, at ports that they have, and probe liveness by /health alone", () => {
    const labels = workload?.spec?.template?.metadata.labels;
    for (const { kind, spec } of manifests) {
      if (kind !== "Service") continue;
      assert.deepEqual(spec?.selector, labels);
      for (const { name, port } of spec?.ports ?? []) {
        const open = container?.ports.find((it) => it.name === name);
        assert.equal(open?.containerPort, port);
      }
    }
    for (const kind of ["startupProbe", "livenessProbe", "readinessProbe"] as const) {
      const probe = container?.[kind]?.httpGet;
      assert.equal(probe?.path, kind === "readinessProbe" ? "/ready" : "/health");
      assert.ok(container?.ports.some(({ name }) => name === probe?.port));
    }
  });

  it("leave an agent the time that draining takes, and its neighbours a pause after it", () => {
    assert.ok((pod?.terminationGracePeriodSeconds ?? 0) >= 45);
    assert.ok((workload?.spec?.minReadySeconds ?? 0) >= 6);
    const budget = manifests.find(({ kind }) => kind === "PodDisruptionBudget");
    assert.equal(budget?.spec?.maxUnavailable, 1);
  });
});

describe("the bucket's recipes", () => {
  interface Statement {
    readonly Action: string | readonly string[];
    readonly Resource: string;
    readonly Condition?: Readonly<Record<string, unknown>>;
  }
  const policy = JSON.parse(here("bucket-policy.json")) as {
    readonly Statement: readonly Statement[];
  };
  const { bucket, prefix } = parseS3Url(optionOf(container?.args ?? [], "store"));

  it("allow what the store does, on the prefix of the other recipes and on nothing else", () => {
    const actions = policy.Statement.flatMap(({ Action }) => Action);
    assert.deepEqual(actions, [
      "s3:PutObject",
      "s3:GetObject",
      "s3:DeleteObject",
      "s3:AbortMultipartUpload",
      "s3:ListBucket",
    ]);
    assert.deepEqual(
      policy.Statement.map(({ Resource }) => Resource),
      [`arn:aws:s3:::${bucket}/${prefix}/*`, `arn:aws:s3:::${bucket}`],
    );
    // With `StringLike` a missing object would be answered 403 and not 404: reading one has no prefix that could be like another.
    const conditions = policy.Statement.map(({ Condition }) => Condition);
    assert.deepEqual(conditions, [
      undefined,
      { StringLikeIfExists: { "s3:prefix": `${prefix}/*` } },
    ]);
  });

  it("expire no object: a lifecycle rule ends unfinished uploads and does nothing else", () => {
    const { Rules } = JSON.parse(here("bucket-lifecycle.json")) as {
      readonly Rules: readonly Readonly<Record<string, unknown>>[];
    };
    const keys = Rules.flatMap((rule) => Object.keys(rule)).sort();
    assert.deepEqual(keys, ["AbortIncompleteMultipartUpload", "Filter", "ID", "Status"]);
    assert.deepEqual(Rules[0]?.Filter, { Prefix: `${prefix}/` });
  });
});

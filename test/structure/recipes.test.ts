/** The deployment recipes of examples/observability name files, ports and objects that there are. No container engine is needed. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { parseAllDocuments } from "yaml";
import { readYaml } from "./monitoring.ts";
import { root } from "./source-tree.ts";

const folder = "examples/observability";

interface Service {
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly image?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: readonly string[] | Readonly<Record<string, unknown>>;
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly selector?: Readonly<Record<string, unknown>>;
    readonly serviceName?: string;
    readonly ports?: readonly { readonly name: string; readonly port: number }[];
    readonly endpoints?: readonly { readonly port: string; readonly path: string }[];
    readonly template?: {
      readonly metadata: {
        readonly labels: Readonly<Record<string, string>>;
        readonly annotations: Readonly<Record<string, string>>;
      };
      readonly spec: { readonly containers: readonly Container[] };
    };
  };
}

interface Container {
  readonly command: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly [probe: `${string}Probe`]: {
    readonly httpGet: { readonly path: string; readonly port: string };
  };
}

const compose = readYaml(`${folder}/docker-compose.yml`) as Compose;
const services = Object.entries(compose.services);
const here = (path: string) => join(root, folder, path);

/** Where the host's files are in the containers, of every service. */
const mounts = services.flatMap(([name, { volumes = [] }]) =>
  volumes.map((volume) => {
    const [source = "", target = ""] = volume.split(":");
    return { name, source, target };
  }),
);

describe("docker-compose.yml", () => {
  it("has the agent and what to look at it with", () => {
    const names = services.map(([name]) => name);
    assert.deepEqual(names.sort(), ["agent", "grafana", "jaeger", "prometheus", "shop"]);
  });

  it("mounts files and folders that there are, and volumes that it declares", () => {
    assert.ok(mounts.length >= 5);
    const missing = mounts.filter(({ source }) =>
      source.startsWith(".") ? !existsSync(here(source)) : !(source in compose.volumes),
    );
    assert.deepEqual(missing, []);
  });

  it("builds from a Dockerfile that copies and runs what there is", () => {
    for (const [, { build, command }] of services) {
      for (const program of (command ?? []).filter((it) => it.endsWith(".ts"))) {
        assert.ok(existsSync(join(root, program)), program);
      }
      if (build === undefined) continue;
      assert.ok(existsSync(join(here(build.context), build.dockerfile)));
    }
    const dockerfile = readFileSync(here("Dockerfile"), "utf8");
    const copied = Array.from(
      dockerfile.matchAll(/^COPY (.+)$/gm),
      ([, line = ""]) => line,
    ).flatMap((line) => line.split(" ").slice(0, -1));
    const started = /"(examples\/[^"]+\.ts)"/.exec(dockerfile)?.[1] ?? "";
    assert.ok(copied.length >= 4);
    assert.deepEqual(
      [...copied, started].filter((path) => !existsSync(join(root, path))),
      [],
    );
    const ignored = readFileSync(here("Dockerfile.dockerignore"), "utf8");
    for (const path of copied) assert.ok(ignored.includes(`!${path}`), `${path} is ignored`);
  });

  it("names images by a version, opens ports to this machine only, and starts nothing that is not there", () => {
    for (const [name, { image, ports = [], depends_on: needs = [] }] of services) {
      if (image !== undefined) assert.match(image, /:v?\d+\.\d+\.\d+$/, name);
      for (const port of ports) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/, name);
      const needed = Array.isArray(needs) ? needs : Object.keys(needs);
      for (const need of needed) assert.ok(need in compose.services, need);
    }
  });

  it("lets containers find each other by the names and ports that they have", () => {
    const text = [
      "docker-compose.yml",
      "prometheus.yml",
      "grafana/provisioning/datasources/datasources.yml",
    ]
      .map((path) => readFileSync(here(path), "utf8"))
      .join("\n");
    const addresses = Array.from(
      text.matchAll(/\b(agent|shop|prometheus|jaeger|grafana):(\d{4,5})\b/g),
      ([, host = "", port = ""]) => [host, port] as const,
    );
    assert.ok(addresses.length >= 5);
    for (const [host, port] of addresses) {
      const open = (compose.services[host]?.ports ?? []).map((it) => it.split(":")[2]);
      assert.ok(open.includes(port), `${host}:${port}`);
    }
  });
});

describe("the provisioning of Grafana", () => {
  it("loads the dashboards from where they are mounted", () => {
    const { providers } = readYaml(`${folder}/grafana/provisioning/dashboards/dashboards.yml`) as {
      readonly providers: readonly { readonly options: { readonly path: string } }[];
    };
    const mounted = mounts.find(({ source }) => source.endsWith("dashboards/grafana"));
    assert.deepEqual(
      providers.map(({ options }) => options.path),
      [mounted?.target],
    );
    const home = compose.services.grafana?.environment?.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH;
    const file = home?.slice(`${mounted?.target}/`.length) ?? "none";
    assert.ok(readdirSync(join(root, "dashboards/grafana")).includes(file), home);
  });

  it("has one default Prometheus, and a Jaeger that exemplars lead to", () => {
    const { datasources } = readYaml(
      `${folder}/grafana/provisioning/datasources/datasources.yml`,
    ) as {
      readonly datasources: readonly {
        readonly uid: string;
        readonly type: string;
        readonly isDefault?: boolean;
        readonly jsonData?: {
          readonly exemplarTraceIdDestinations: readonly {
            readonly name: string;
            readonly datasourceUid: string;
          }[];
        };
      }[];
    };
    const defaults = datasources.filter(({ isDefault }) => isDefault === true);
    assert.deepEqual(
      defaults.map(({ type }) => type),
      ["prometheus"],
    );
    const jaeger = datasources.find(({ type }) => type === "jaeger")?.uid;
    assert.deepEqual(defaults[0]?.jsonData?.exemplarTraceIdDestinations, [
      { name: "trace_id", datasourceUid: jaeger },
    ]);
  });
});

describe("the manifests for Kubernetes", () => {
  const manifests = ["kubernetes.yml", "servicemonitor.yml"].flatMap((file) =>
    parseAllDocuments(readFileSync(here(file), "utf8")).map((document) => {
      assert.deepEqual(document.errors, [], file);
      return document.toJS() as Manifest;
    }),
  );
  const ofKind = (kind: string) => manifests.filter((it) => it.kind === kind);
  const workloads = manifests.filter(({ spec }) => spec.template !== undefined);

  it("are an agent with a disk, an application, their services and what scrapes them", () => {
    assert.deepEqual(
      manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`),
      [
        "Service streamhouse-agent",
        "StatefulSet streamhouse-agent",
        "Service shop",
        "Deployment shop",
        "ServiceMonitor streamhouse-agent",
        "ServiceMonitor shop",
      ],
    );
  });

  it("probe what the handler answers, on a port that the container has, and never liveness by /ready", () => {
    for (const { metadata, spec } of workloads) {
      for (const container of spec.template?.spec.containers ?? []) {
        const ports = container.ports.map(({ name }) => name);
        for (const kind of ["startupProbe", "livenessProbe", "readinessProbe"] as const) {
          const probe = container[kind];
          if (probe === undefined) continue;
          assert.ok(ports.includes(probe.httpGet.port), `${metadata.name} ${kind}`);
          assert.equal(probe.httpGet.path, kind === "readinessProbe" ? "/ready" : "/health");
        }
        const program = container.command.find((it) => it.endsWith(".ts")) ?? "";
        assert.ok(existsSync(join(root, program)), program);
      }
    }
  });

  it("select pods that there are, at ports that they have", () => {
    for (const { metadata, spec } of ofKind("Service")) {
      const workload = workloads.find((it) => it.metadata.name === metadata.name);
      assert.deepEqual(spec.selector, workload?.spec.template?.metadata.labels);
      const open = workload?.spec.template?.spec.containers.flatMap((it) => it.ports) ?? [];
      for (const { name, port } of spec.ports ?? []) {
        assert.ok(
          open.some((it) => it.name === name && it.containerPort === port),
          name,
        );
      }
      const annotations = workload?.spec.template?.metadata.annotations ?? {};
      const scraped = Number(annotations["prometheus.io/port"]);
      assert.ok(spec.ports?.some((it) => it.name === "http" && it.port === scraped));
    }
    for (const { spec } of ofKind("ServiceMonitor")) {
      const labels = (spec.selector as { matchLabels: Record<string, string> }).matchLabels;
      const service = ofKind("Service").find((it) => it.metadata.labels?.app === labels.app);
      for (const { port } of spec.endpoints ?? []) {
        assert.ok(
          service?.spec.ports?.some(({ name }) => name === port),
          port,
        );
      }
    }
  });

  it("give the agent a name that the alert rules find", () => {
    const names = ofKind("Service").map(({ metadata }) => metadata.name);
    assert.ok(names.some((name) => /streamhouse-agent/.test(name)));
  });
});

describe("examples/observability/README.md", () => {
  it("links to what there is", () => {
    const text = readFileSync(here("README.md"), "utf8");
    const links = Array.from(text.matchAll(/\]\(([^)\s#]+)/g), ([, link = ""]) => link);
    const local = links.filter((link) => !/^[a-z]+:/.test(link));
    assert.ok(local.length >= 8);
    assert.deepEqual(
      local.filter((link) => !existsSync(join(dirname(here("README.md")), link))),
      [],
    );
  });
});

/**
 * One Apache Kafka broker in KRaft mode, from its Maven artifacts, as a child process over an empty folder. Its jars are kept in the
 * user's cache folder. Made for `kafka.ts`.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { BoundProcess, freePorts } from "../../scripts/backends/bound-process.ts";
import { root } from "../paths.ts";

/** `default` leaves writing to disk to the operating system; `always` fsyncs before each answer. */
export type KafkaSync = "default" | "always";

export interface KafkaServer {
  readonly address: string;
  stop(): Promise<void>;
}

const project = join(root, "bench", "java", "kafka", "pom.xml");

/** Why there is no broker on this machine; undefined if there can be one. */
export function whyNoKafka(): string | undefined {
  const missing = ["java", "mvn"].filter((it) => spawnSync(it, ["-version"]).status !== 0);
  return missing.length === 0 ? undefined : `this machine has no ${missing.join(" and no ")}`;
}

export async function startKafka(folder: string, sync: KafkaSync): Promise<KafkaServer> {
  const classPath = join(jars(), "*");
  const [port = 0, controller = 0] = await freePorts(2);
  const config = join(folder, "server.properties");
  writeFileSync(config, properties(folder, port, controller, sync));
  const java = (main: string, ...args: string[]) => [
    ...["-Xmx1G", "-Xms1G", "-XX:+UseG1GC", "-cp", classPath, main],
    ...args,
  ];
  const id = "AAAAAAAAAAAAAAAAAAAAAQ";
  const format = ["format", "-t", id, "-c", config];
  const formatted = spawnSync("java", java("kafka.tools.StorageTool", ...format));
  if (formatted.status !== 0) throw new Error(`Kafka's folder: ${formatted.stderr}`);
  const server = new BoundProcess("java", java("kafka.Kafka", config), { cwd: folder });
  await server.until("its port", 60_000, () => answers(port));
  return { address: `127.0.0.1:${port}`, stop: () => server.kill() };
}

function properties(folder: string, port: number, controller: number, sync: KafkaSync): string {
  const lines = [
    "process.roles=broker,controller",
    "node.id=1",
    `controller.quorum.voters=1@127.0.0.1:${controller}`,
    `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`,
    `advertised.listeners=PLAINTEXT://127.0.0.1:${port}`,
    "controller.listener.names=CONTROLLER",
    `log.dirs=${join(folder, "logs")}`,
    "offsets.topic.replication.factor=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
    "group.initial.rebalance.delay.ms=0",
    "auto.create.topics.enable=false",
  ];
  if (sync === "always") lines.push("log.flush.interval.messages=1");
  return `${lines.join("\n")}\n`;
}

/** The folder with all jars, copied by Maven the first time. */
function jars(): string {
  const fingerprint = createHash("sha256").update(readFileSync(project)).digest("hex");
  const base = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  const folder = join(base, "streamhouse-peers", `kafka-${fingerprint.slice(0, 16)}`);
  if (existsSync(folder)) return folder;
  const unfinished = `${folder}.${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  process.stderr.write("copying Apache Kafka's jars …\n");
  const goal = ["dependency:copy-dependencies", `-DoutputDirectory=${unfinished}`];
  const copied = spawnSync("mvn", ["-q", "-B", "-f", project, ...goal], { encoding: "utf8" });
  if (copied.status !== 0) {
    rmSync(unfinished, { recursive: true, force: true });
    throw new Error(`Maven could not copy Kafka's jars: ${copied.stdout}${copied.stderr}`);
  }
  renameSync(unfinished, folder);
  return folder;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

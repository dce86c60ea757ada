/** What an agent of a thousand partitions costs while nobody sends or reads: processor time and memory, told by the kernel. */
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { connect } from "../src/house/connect.ts";
import { type Child, startChild } from "./child.ts";
import type { Contender, Sample } from "./contender.ts";

const PARTITIONS = 1_000;
const PARTITIONS_PER_TOPIC = 100;

/** What starting and making topics left to do is over by then. */
const SETTLE_MS = 5_000;

/** Kernel ticks in a second (`getconf CLK_TCK`: 100 on every Linux that Node runs on). */
const TICKS = 100;
const MIB = 2 ** 20;

export function idleContender(seconds: number, folder: () => string): Contender {
  let agent: Child | undefined;
  return {
    name: "idle-1000-partitions",
    unit: "% CPU",
    limits: [],
    note:
      `an agent on a folder with ${PARTITIONS.toLocaleString("en-US")} partitions, nobody sends or reads: ` +
      `processor time over ${seconds} s, of one core; resident memory beside it`,
    async prepare() {
      const args = ["agent", "--data", folder(), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
      agent = await startChild("src/cli.ts", args);
      const house = await connect({ agents: [String(agent.ready.grpc)] });
      for (let i = 0; i < PARTITIONS / PARTITIONS_PER_TOPIC; i++) {
        await house.admin.createTopic(`idle-${i}`, { partitions: PARTITIONS_PER_TOPIC });
      }
      await house.close();
      await wait(SETTLE_MS);
    },
    async round(): Promise<Sample> {
      if (agent === undefined) throw new Error("round() before prepare()");
      const [before, start] = [cpuSecondsOf(agent.pid), performance.now()];
      await wait(seconds * 1_000);
      const elapsed = (performance.now() - start) / 1_000;
      const used = cpuSecondsOf(agent.pid) - before;
      return { value: (used / elapsed) * 100, also: { "MiB resident": residentMiB(agent.pid) } };
    },
    close: async () => await agent?.stop(),
  };
}

/** User and system time since its start: fields 14 and 15 of `proc_pid_stat(5)`, counted after the name in parentheses. */
function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

function residentMiB(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return (Number(kib) * 1_024) / MIB;
}

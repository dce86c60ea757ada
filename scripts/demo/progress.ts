/** How far the main job is: two bars on a terminal, plain lines now and then elsewhere. */
import process from "node:process";
import cliProgress from "cli-progress";
import { print } from "./print.ts";

export interface Progress {
  update(sent: number, read: number): void;
  /** Leaves the last state on the screen. */
  end(): void;
}

/** Plain lines: one at most in this time. */
const plainEveryMs = 1_000;

export function createProgress(total: number): Progress {
  return process.stdout.isTTY ? bars(total) : plainLines(total);
}

function bars(total: number): Progress {
  const multi = new cliProgress.MultiBar(
    { format: "{name} [{bar}] {value} of {total} records", hideCursor: true, fps: 10 },
    cliProgress.Presets.shades_grey,
  );
  const sentBar = multi.create(total, 0, { name: "sent" });
  const readBar = multi.create(total, 0, { name: "read" });
  return {
    update(sent, read) {
      sentBar.update(sent);
      readBar.update(read);
    },
    end: () => multi.stop(),
  };
}

function plainLines(total: number): Progress {
  let lastAt = performance.now();
  let last = "";
  let current = "";
  const tell = () => {
    if (current !== last) print(current);
    last = current;
  };
  return {
    update(sent, read) {
      current = `sent ${formatCount(sent)} and read ${formatCount(read)} of ${formatCount(total)} records`;
      if (performance.now() - lastAt < plainEveryMs) return;
      lastAt = performance.now();
      tell();
    },
    end: tell,
  };
}

/** A number for people, with commas, in every locale the same. */
export function formatCount(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

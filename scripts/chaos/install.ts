/** Puts the real servers of a chaos run on this machine, if they are missing: Debian's packages, where we may install them. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import process from "node:process";
import { whyNoRadosgw } from "../backends/radosgw.ts";
import type { Say } from "./console.ts";

const postgresPackages = ["postgresql-15"];
const cephPackages = ["radosgw", "ceph-mon", "ceph-osd", "ceph-base", "ceph-common"];

/** @throws Error saying what to install, where it cannot be done here */
export async function installServers(say: Say): Promise<void> {
  const missing = [
    ...(hasPostgres() ? [] : postgresPackages),
    ...(whyNoRadosgw() === undefined ? [] : cephPackages),
  ];
  if (missing.length === 0) return;
  const install = ["apt-get", "install", "-y", "--no-install-recommends", ...missing];
  const byHand = `apt-get update && ${install.join(" ")}`;
  if (spawnSync("apt-get", ["--version"]).error !== undefined) {
    throw new Error(
      `PostgreSQL or radosgw is missing, and there is no apt-get; on Debian: ${byHand}`,
    );
  }
  if (process.getuid?.() !== 0) {
    throw new Error(`missing: ${missing.join(" ")}; not root, so install them first: ${byHand}`);
  }
  say(`installing Debian packages: ${missing.join(" ")}`);
  await run(["apt-get", "update"]);
  await run(install);
}

/** Debian keeps the server's programs out of the search path. */
function hasPostgres(): boolean {
  if (spawnSync("initdb", ["--version"]).error === undefined) return true;
  const folder = "/usr/lib/postgresql";
  if (!existsSync(folder)) return false;
  return readdirSync(folder).some((version) => existsSync(`${folder}/${version}/bin/initdb`));
}

/** Its output goes to standard error: standard output is for the result. */
function run([program = "", ...args]: readonly string[]): Promise<void> {
  const child = spawn(program, args, {
    stdio: ["ignore", 2, 2],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${program} ${args.join(" ")}: exit code ${code}`));
    });
  });
}

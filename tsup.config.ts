import type { Options } from "tsup";

/** tsup 9 with TypeScript 6.0: its type output breaks under TypeScript 7. */
const config: Options = {
  entry: {
    index: "src/index.ts",
    agent: "src/agent.ts",
    http: "src/http.ts",
    telemetry: "src/telemetry.ts",
    prometheus: "src/prometheus.ts",
    s3: "src/s3.ts",
    postgres: "src/postgres.ts",
    testing: "src/testing.ts",
    cli: "src/cli.ts",
  },
  format: ["esm"],
  // Node 22 has no `using`: the target lowers it.
  target: "node22",
  platform: "node",
  // Doors share code: two copies of a class in one process would not know each other.
  splitting: true,
  treeshake: true,
  sourcemap: true,
  dts: true,
  clean: true,
  // `node:sqlite` and `node:test` exist only with the prefix.
  removeNodeProtocol: false,
};
export default config;

import type { Options } from "tsup";

const config: Options = {
  entry: {
    index: "src/index.ts",
    agent: "src/agent.ts",
    http: "src/http.ts",
    telemetry: "src/telemetry.ts",
  },
  format: ["esm"],
  target: "node22",
  platform: "node",
  splitting: true,
  treeshake: true,
  sourcemap: true,
  dts: true,
  clean: true,
  removeNodeProtocol: false,
};
export default config;

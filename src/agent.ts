/** `@streamhouse/streamhouse/agent`: an agent as a process of its own (`serve`) or inside the application (`embed`). */
export type { AccessControl } from "./agent/access.ts";
export {
  type Agent,
  type AgentComponents,
  type AgentPhase,
  type AgentStatus,
  createAgent,
} from "./agent/agent.ts";
export type { CompactionOptions } from "./agent/compaction-options.ts";
export type { AgentOptions } from "./agent/options.ts";
export {
  createGrpcServer,
  type GrpcServer,
  type GrpcServerComponents,
  type GrpcServerOptions,
} from "./agent/server.ts";
export type { AccessAction, AccessRight } from "./core/access.ts";
export { type Clock, systemClock, type Timer } from "./core/clock.ts";
export type { RandomBytes } from "./core/ids.ts";
export type { LogFields, Logger } from "./core/logger.ts";
export type { House } from "./house/house.ts";
export type {
  ApiKeyInfo,
  ApiKeyList,
  KeyStore,
  NewApiKey,
  StoredApiKey,
} from "./metadata/key-store.ts";
export type { MetadataStore } from "./metadata/metadata-store.ts";
export { createSqliteMetadata, type SqliteMetadataComponents } from "./metadata/sqlite.ts";
export type { AgentApi, CallContext } from "./rpc/agent-api.ts";
export type { CallAccess, ShownCall } from "./rpc/call-access.ts";
export type { ServerTls } from "./rpc/tls-options.ts";
export { type EmbeddedHouse, type EmbedOptions, embed } from "./serve/embed.ts";
export {
  type AccessOptions,
  type Served,
  type ServeOptions,
  type ServeTelemetry,
  serve,
} from "./serve/serve.ts";
export { createFolderStore } from "./storage/folder.ts";
export { createFolderSink, type FolderSinkComponents } from "./storage/folder-sink.ts";
export { createMemoryStore } from "./storage/memory.ts";
export { createObjectSink, type ObjectSinkComponents } from "./storage/object-sink.ts";
export type { ByteRange, ObjectInfo, ObjectStore } from "./storage/object-store.ts";
export type { FlushName, SegmentSink } from "./storage/segment-sink.ts";
export type { Telemetry, TelemetryOptions } from "./telemetry/telemetry.ts";

/**
 * `@streamhouse/streamhouse/testing`: a whole house in memory, time in a test's own hands, and what every store must promise, as
 * suites for `node:test`.
 */
export type { EmbeddedHouse } from "./serve/embed.ts";
export {
  type MetadataContractSubject,
  metadataStoreContract,
} from "./testing/contracts/metadata-store.ts";
export type { MetadataSubject } from "./testing/contracts/metadata-subject.ts";
export { type ObjectStoreSubject, objectStoreContract } from "./testing/contracts/object-store.ts";
export { type SegmentSinkSubject, segmentSinkContract } from "./testing/contracts/segment-sink.ts";
export { ManualClock, type ManualClockOptions } from "./testing/manual-clock.ts";
export { createTestHouse, type TestHouseOptions } from "./testing/test-house.ts";

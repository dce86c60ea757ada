/** `@streamhouse/streamhouse/testing`: a whole house in memory, and time in a test's own hands. */
export type { EmbeddedHouse } from "./serve/embed.ts";
export { ManualClock, type ManualClockOptions } from "./testing/manual-clock.ts";
export { createTestHouse, type TestHouseOptions } from "./testing/test-house.ts";

/** Commits flushes of one record for as long as it lives, and says each one's sequence once it is committed. */
import process from "node:process";
import { systemClock } from "../../../src/core/clock.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import { flushOf } from "../../../src/testing/contracts/metadata-subject.ts";

const [path = "", topicId = "", runId = ""] = process.argv.slice(2);
const metadata = createSqliteMetadata({ path, clock: systemClock });
await metadata.startRun({
  runId,
  agentId: "a",
  address: "",
  ttlMs: 60_000,
  predecessorsDead: true,
});
const [grant] = await metadata.acquireLeases(runId, [{ topicId, partition: 0 }]);
if (grant === undefined) throw new Error("no lease");
const { epoch } = grant;
for (let sequence = 1; ; sequence++) {
  const baseOffset = grant.nextOffset + sequence - 1;
  const outcome = await metadata.commitFlush(
    flushOf(runId, sequence, [{ topicId, epoch, baseOffset }]),
  );
  if (outcome.status !== "committed") throw new Error(outcome.status);
  await new Promise<void>((resolve) => process.stdout.write(`${sequence}\n`, () => resolve()));
}

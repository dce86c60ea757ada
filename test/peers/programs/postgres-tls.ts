/** Opens PostgreSQL metadata by each URL that it is given, on whichever runtime runs this, and prints what came of it as a line of JSON. */
import { systemClock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import { openMetadataUrl } from "../../../src/serve/store-urls.ts";

const seen: string[] = [];
for (const url of process.argv.slice(2)) {
  try {
    const metadata = await openMetadataUrl(url, { clock: systemClock, logger: silentLogger });
    seen.push(`opened with ${(await metadata.listTopics()).length} topics`);
    await metadata.close();
  } catch (error) {
    seen.push(error instanceof Error ? error.message : String(error));
  }
}
console.log(JSON.stringify({ seen }));
process.exit(0);

/**
 * A program of a user that never closes what it opened for measuring: with nothing registered, or with `telemetry: false`, the
 * process must end by itself. Says what timers hold it when its work is done (Node can tell), and ends when nothing does.
 */
import { embed } from "../../src/serve/embed.ts";
import { createTelemetry } from "../../src/telemetry/telemetry.ts";

const telemetry = process.argv[2] === "false" ? false : {};
// These stay open: an application that forgets a producer must not hang for its instruments.
for (const name of ["producer", "consumer", "agent"]) createTelemetry(telemetry, { name });

const house = await embed({ telemetry });
await house.admin.createTopic("orders");
const producer = house.producer();
await producer.send({ topic: "orders", value: "one" });
await house.close();
const timers = process.getActiveResourcesInfo().filter((resource) => resource === "Timeout");
process.stdout.write(`worked, held by ${timers.length} timers\n`);

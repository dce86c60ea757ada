// The package by its own name, through the import map in examples/deno.json: `deno run -A examples/deno.ts`. A typed topic: values
// are checked by a Standard Schema (Zod, Valibot and ArkType make them; this one is written by hand) when sent and when read.

import type { StandardSchema } from "@streamhouse/streamhouse";
import { createTestHouse } from "@streamhouse/streamhouse/testing";

interface Reading {
  readonly sensor: string;
  readonly celsius: number;
}

const reading: StandardSchema<Reading> = {
  "~standard": {
    version: 1,
    vendor: "example",
    validate(value) {
      const { sensor, celsius } = (value ?? {}) as Partial<Reading>;
      if (typeof sensor === "string" && typeof celsius === "number") {
        return { value: { sensor, celsius } };
      }
      return { issues: [{ message: "a reading has a sensor and its degrees Celsius" }] };
    },
  },
};

await using house = await createTestHouse({ topics: { readings: 2 } });
const readings = house.topic("readings", { schema: reading, key: (it) => it.sensor });

await using producer = readings.producer();
await producer.send({ sensor: "roof", celsius: 21.5 });
await producer.send({ sensor: "cellar", celsius: 12 });

await using consumer = readings.consumer({ group: "display" });
let shown = 0;
for await (const { value, record } of consumer) {
  console.log(`${value.sensor}: ${value.celsius} °C (partition ${record.partition})`);
  shown += 1;
  if (shown === 2) break;
}

/** The faults of a chaos run come from its seed alone. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { faultKinds, faultNames } from "../../../scripts/chaos/fault-kinds.ts";
import { createSchedule, type ScheduleSettings } from "../../../scripts/chaos/schedule.ts";
import { readSettings } from "../../../scripts/chaos/settings.ts";

const long: ScheduleSettings = {
  seed: 7,
  profile: "long",
  durationMs: 600_000,
  agents: 3,
  producers: 3,
  consumers: 3,
  members: 3,
};

describe("the schedule of a chaos run", () => {
  it("is the same for the same seed, and another for another", () => {
    assert.deepEqual(createSchedule(long), createSchedule({ ...long }));
    assert.notDeepEqual(createSchedule(long), createSchedule({ ...long, seed: 8 }));
  });

  it("has each fault once in the short profile", () => {
    const kinds = createSchedule({ ...long, profile: "short" }).map((it) => it.kind);
    assert.deepEqual(kinds.toSorted(), faultNames.toSorted());
  });

  it("fills the given time in the long profile, with every fault in it", () => {
    const faults = createSchedule(long);
    assert.equal(new Set(faults.map((it) => it.kind)).size, faultNames.length);
    for (const { atMs, lastsMs } of faults) assert.ok(atMs + lastsMs <= long.durationMs);
    assert.ok((faults.at(-1)?.atMs ?? 0) > long.durationMs - 30_000);
  });

  it("never has two faults of one lane at once, and hits only what is there", () => {
    const free = { life: 0, world: 0, groups: 0 };
    for (const { atMs, kind, lastsMs, target } of createSchedule(long)) {
      const { lane, scope } = faultKinds[kind];
      assert.ok(atMs >= free[lane]);
      free[lane] = atMs + lastsMs;
      assert.ok(target >= 0 && target < (scope === "all" ? 1 : 3));
    }
  });
});

describe("the command line of a chaos run", () => {
  const mistake = (...argv: readonly string[]) => {
    const request = readSettings(argv);
    assert.equal(request.kind, "mistake");
    return request.kind === "mistake" ? request.text : "";
  };

  it("takes minutes, seed, agents and profile", () => {
    const request = readSettings(["--minutes", "2", "--seed", "9", "--agents", "4"]);
    assert.equal(request.kind, "run");
    if (request.kind !== "run") return;
    const { agents, durationMs, profile, seed } = request.settings;
    assert.deepEqual([agents, durationMs, profile, seed], [4, 120_000, "long", 9]);
  });

  it("says what is wrong with what it is given, and what would be right", () => {
    assert.match(mistake("--minutes", "soon"), /--minutes is "soon": use a whole number from 1/);
    assert.match(mistake("--agents", "1"), /--agents is "1": use a whole number from 2 to 9/);
    assert.match(mistake("--profile", "tiny"), /--profile is "tiny": use short, long/);
    assert.match(mistake("--profile", "short", "--minutes", "3"), /--minutes goes with/);
    assert.match(mistake("--sed", "3"), /unknown option "--sed"/);
    assert.match(mistake("7"), /unexpected argument "7"/);
  });
});

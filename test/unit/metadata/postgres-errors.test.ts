/** What PostgreSQL's errors mean. That they are the server's real ones is told by test/peers/postgres-connections.test.ts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { isPassing, postgresError } from "../../../src/metadata/postgres-errors.ts";

const context = { doing: "doing it", name: "h:1/d", unanswered: "unknown" } as const;

/** As the client makes it of what the server answered. */
function answered(code: string): Error {
  return Object.assign(new Error(`text of ${code}`), { severity: "ERROR", code });
}

describe("errors of PostgreSQL", () => {
  it("that the server answered are certainly not applied, and say what to do", () => {
    const expected = {
      "40001": ["METADATA_UNAVAILABLE", true],
      "40P01": ["METADATA_UNAVAILABLE", true],
      "55P03": ["METADATA_UNAVAILABLE", true],
      "57014": ["METADATA_UNAVAILABLE", true],
      "57P03": ["METADATA_UNAVAILABLE", true],
      "53300": ["METADATA_UNAVAILABLE", true],
      "28P01": ["METADATA_UNAVAILABLE", true],
      "3D000": ["METADATA_UNAVAILABLE", true],
      "42501": ["METADATA_UNAVAILABLE", true],
      "25006": ["METADATA_UNAVAILABLE", true],
      "53100": ["STORE_FULL", true],
      "22021": ["INVALID_ARGUMENT", false],
      "42P01": ["INTERNAL", false],
      "23505": ["INTERNAL", false],
      XX001: ["INTERNAL", false],
    } as const;
    for (const [state, [code, retriable]] of Object.entries(expected)) {
      const error = postgresError(answered(state), context);
      assert.deepEqual(
        [error.code, error.retriable, error.outcome],
        [code, retriable, "none"],
        state,
      );
      assert.match(error.message, /doing it.*h:1\/d.*text of/);
    }
  });

  it("that are no answer leave the outcome as open as the statement does", () => {
    for (const code of ["CONNECTION_CLOSED", "ECONNRESET", "CONNECT_TIMEOUT", "08P0"]) {
      const lost = Object.assign(new Error(code), { code });
      assert.equal(postgresError(lost, context).outcome, "unknown");
      const none = postgresError(lost, { ...context, unanswered: "none" });
      assert.deepEqual([none.code, none.outcome], ["METADATA_UNAVAILABLE", "none"]);
    }
    assert.equal(postgresError(answered("40003"), context).outcome, "unknown");
  });

  it("are tried again by the store only if the server gave the transaction up", () => {
    assert.ok(isPassing(answered("40001")) && isPassing(answered("40P01")));
    assert.ok(!isPassing(answered("57014")));
    // A code of the client's that looks like one of the server's.
    assert.ok(!isPassing(Object.assign(new Error("x"), { code: "40001" })));
  });

  it("of ours stay what they are", () => {
    const own = new StreamHouseError({ code: "CLOSED", kind: "closed", message: "closed" });
    assert.equal(postgresError(own, context), own);
  });
});

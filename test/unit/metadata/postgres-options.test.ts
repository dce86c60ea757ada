/** Settings and URLs of the PostgreSQL metadata. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { resolvePostgresOptions } from "../../../src/metadata/postgres-options.ts";

describe("options of the PostgreSQL metadata", () => {
  it("come from the URL, with defaults for the rest", async () => {
    const options = resolvePostgresOptions({
      url: "postgres://us%40er:p%3Aw%2F@db.example/events",
    });
    const { password, ...rest } = options;
    assert.equal(await password(), "p:w/");
    assert.deepEqual(rest, {
      hosts: [{ host: "db.example", port: 5_432 }],
      user: "us@er",
      database: "events",
      ssl: false,
      ca: undefined,
      schema: "streamhouse",
      connectionsMax: 5,
      connectTimeoutMs: 5_000,
      statementTimeoutMs: 10_000,
      name: "db.example:5432/events",
    });
  });

  it("name several hosts, each with its port, also in brackets", () => {
    const { hosts, name } = resolvePostgresOptions({
      url: "postgresql://u:p@one:1,two,[::1]:3/d?sslmode=require&connections=9",
    });
    assert.deepEqual(hosts, [
      { host: "one", port: 1 },
      { host: "two", port: 5_432 },
      { host: "::1", port: 3 },
    ]);
    assert.equal(name, "one:1,two:5432,::1:3/d");
  });

  it("are taken from the URL's parameters unless they are given themselves", () => {
    const url =
      "postgres://u@h/d?schema=mine&connections=9&connect_timeout=2&statement_timeout=700&sslmode=verify-full";
    const told = resolvePostgresOptions({ url });
    assert.deepEqual(
      [told.schema, told.connectionsMax, told.connectTimeoutMs, told.statementTimeoutMs, told.ssl],
      ["mine", 9, 2_000, 700, "verify-full"],
    );
    const given = resolvePostgresOptions({
      url,
      schema: "yours",
      connectionsMax: 1,
      connectTimeoutMs: 1,
      statementTimeoutMs: 1,
      password: () => "fresh",
    });
    assert.deepEqual(
      [given.schema, given.connectionsMax, given.connectTimeoutMs, given.statementTimeoutMs],
      ["yours", 1, 1, 1],
    );
    assert.equal(given.password(), "fresh");
  });

  it("are refused when they are wrong, without a word of the password", () => {
    const bad = [
      "",
      "postgres://",
      "postgres://h/d",
      "postgres://u:s3cret@h",
      "postgres://u:s3cret@h/",
      "mysql://u:s3cret@h/d",
      "postgres://u:s3cret@h:70000/d",
      "postgres://u:s3cret@one:1,two:x/d",
      "postgres://u:s3cret%zz@h/d",
      "postgres://u:s3cret@h/d?sslmode=perhaps",
      "postgres://u:s3cret@h/d?connections=0",
      "postgres://u:s3cret@h/d?connections=many",
      "postgres://u:s3cret@h/d?statement_timeout=1.5",
      'postgres://u:s3cret@h/d?schema=a"b',
      "postgres://u:s3cret@h/d?schema=Upper",
    ];
    for (const url of bad) {
      assert.throws(
        () => resolvePostgresOptions({ url }),
        (error) => {
          assert.ok(StreamHouseError.is(error), url);
          assert.deepEqual([error.code, error.field], ["INVALID_ARGUMENT", "metadata"], url);
          assert.doesNotMatch(error.message, /s3cret/);
          return true;
        },
      );
    }
  });
});

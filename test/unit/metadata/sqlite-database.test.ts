import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { type Migration, migrations, schemaVersion } from "../../../src/metadata/schema.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import { SqliteDatabase } from "../../../src/metadata/sqlite-database.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { failure, scratchFolders } from "../storage/scratch.ts";

const clock = new ManualClock();

describe("SQLite database", () => {
  const scratch = scratchFolders();
  const openAt = (path: string, known?: readonly Migration[]) =>
    new SqliteDatabase({ path, clock, migrations: known });
  const open = async (known?: readonly Migration[]) => {
    const path = join(await scratch(), "metadata.db");
    return { path, db: openAt(path, known) };
  };

  it("writes ahead and syncs every commit", async () => {
    const { db } = await open();
    assert.equal(db.get("PRAGMA journal_mode")?.journal_mode, "wal");
    assert.equal(db.get("PRAGMA synchronous")?.synchronous, 2);
    db.close();
  });

  it("reads the clock once the lock is held", async () => {
    const { db, path } = await open();
    const other = openAt(path);
    const nosy = new ManualClock();
    let lockedOut = false;
    nosy.now = () => {
      assert.throws(() => other.write("trying", () => {}), failure("METADATA_UNAVAILABLE"));
      lockedOut = true;
      return 5;
    };
    const watched = new SqliteDatabase({ path, clock: nosy });
    assert.equal(
      watched.write("writing", (nowMs) => nowMs),
      5,
    );
    assert.ok(lockedOut);
    for (const it of [db, other, watched]) it.close();
  });

  it("is unavailable, with nothing applied, while another process has it locked", async () => {
    const { db, path } = await open();
    const other = openAt(path);
    db.write("holding", () => {
      const busy = failure("METADATA_UNAVAILABLE", "none", path, "another process");
      assert.throws(() => other.write("writing", () => {}), busy);
      // Reading is not in the way of writing.
      assert.equal(other.read("reading", () => other.all("SELECT * FROM topics")).length, 0);
    });
    other.write("writing", () => {});
    db.close();
    other.close();
  });

  it("rolls back what was done when the work throws, and passes the error on as it is", async () => {
    const { db } = await open();
    const insert = () => db.run("INSERT INTO producers (epoch) VALUES (7)");
    const count = () => db.all("SELECT * FROM producers").length;
    const mine = new StreamHouseError({ code: "GROUP_BUSY", kind: "conflict", message: "mine" });
    const failing = () =>
      db.write("failing", () => {
        insert();
        throw mine;
      });
    assert.throws(failing, (error) => error === mine);
    assert.equal(count(), 0);
    const defect = () =>
      db.write("failing", () => {
        insert();
        throw new TypeError("a defect");
      });
    assert.throws(defect, failure("INTERNAL", "none", "a defect"));
    assert.equal(count(), 0);
    db.write("working", insert);
    assert.equal(count(), 1);
    db.close();
  });

  it("says that the disk is full, applies nothing, and works again once there is room", async () => {
    const { db } = await open();
    const pages = Number(db.get("PRAGMA page_count")?.page_count);
    db.get(`PRAGMA max_page_count = ${pages + 1}`);
    const fill = () =>
      db.run(
        "INSERT INTO producer_states (topic_id, partition, state) VALUES ('t', 0, ?)",
        new Uint8Array(100_000),
      );
    assert.throws(() => db.write("filling", fill), failure("STORE_FULL", "none", "free some"));
    assert.equal(db.all("SELECT * FROM producer_states").length, 0);
    db.get("PRAGMA max_page_count = 100000");
    db.write("filling", fill);
    assert.equal(db.all("SELECT * FROM producer_states").length, 1);
    db.close();
  });

  it("does not know the outcome when the commit itself fails on the disk", async () => {
    const { db } = await open();
    // A deferred constraint fails in COMMIT, which is as near as a healthy disk comes to it.
    db.get("PRAGMA foreign_keys = ON");
    const sql =
      "CREATE TEMP TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)";
    db.run("CREATE TEMP TABLE parent (id INTEGER PRIMARY KEY)");
    db.run(sql);
    const late = () => db.write("committing", () => db.run("INSERT INTO child VALUES (1)"));
    assert.throws(late, failure("INTERNAL", "unknown", "FOREIGN KEY"));
    // The failed transaction does not stay open.
    db.write("working", () => db.run("INSERT INTO parent VALUES (1)"));
    db.close();
  });

  it("refuses what is no database, or cannot be opened, naming the path", async () => {
    const dir = await scratch();
    const text = join(dir, "text.db");
    await writeFile(text, "this is not a database ".repeat(500));
    assert.throws(() => openAt(text), failure("INTERNAL", "none", text, "damaged"));
    await mkdir(join(dir, "folder.db"));
    for (const path of [join(dir, "folder.db"), join(dir, "no", "such", "folder.db")]) {
      assert.throws(() => openAt(path), failure("DATA_FOLDER_UNUSABLE", "none", path));
    }
  });
});

describe("migrations", () => {
  const scratch = scratchFolders();
  const second: Migration = {
    version: schemaVersion() + 1,
    sql: "ALTER TABLE producers ADD COLUMN note TEXT NOT NULL DEFAULT 'old'; CREATE TABLE extra (a INTEGER) STRICT;",
  };
  const open = (path: string, known: readonly Migration[] = migrations) =>
    new SqliteDatabase({ path, clock, migrations: known });

  it("have rising versions without holes", () => {
    assert.deepEqual(
      migrations.map((it) => it.version),
      migrations.map((_, i) => i + 1),
    );
  });

  it("run once, in order, and keep what was there", async () => {
    const path = join(await scratch(), "metadata.db");
    const old = open(path);
    old.write("writing", () => old.run("INSERT INTO producers (epoch) VALUES (3)"));
    old.close();
    for (let start = 0; start < 3; start++) {
      const db = open(path, [...migrations, second]);
      assert.deepEqual(
        { ...db.get("SELECT epoch, note FROM producers") },
        { epoch: 3, note: "old" },
      );
      assert.equal(db.get("PRAGMA user_version")?.user_version, second.version);
      db.close();
    }
  });

  it("refuse a newer database, naming both versions, and leave it as it is", async () => {
    const path = join(await scratch(), "metadata.db");
    open(path, [...migrations, second]).close();
    const tooNew = failure(
      "METADATA_TOO_NEW",
      "none",
      path,
      `version ${second.version}`,
      `up to ${schemaVersion()}`,
    );
    assert.throws(() => open(path), tooNew);
    assert.throws(() => createSqliteMetadata({ path, clock }), tooNew);
    open(path, [...migrations, second]).close();
  });

  it("leave the old version whole when one of them fails", async () => {
    const path = join(await scratch(), "metadata.db");
    open(path).close();
    const broken = { version: second.version + 1, sql: "CREATE TABLE third (a); SELECT nonsense;" };
    assert.throws(() => open(path, [...migrations, second, broken]), failure("INTERNAL"));
    const db = open(path);
    assert.equal(db.get("PRAGMA user_version")?.user_version, schemaVersion());
    const tables = "SELECT name FROM sqlite_master WHERE name IN ('extra', 'third')";
    assert.deepEqual(db.all(tables), []);
    db.close();
  });
});

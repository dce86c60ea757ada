/**
 * `streamhouse keys create | list | revoke`: API keys, straight in the metadata (which is how the first one is made), or asked of an agent
 * with a key that may administer every topic. A key's text goes to standard output once, when it is made, and nowhere else.
 */
import type { ApiKeyDescription, KeysAdmin } from "../client/admin-api.ts";
import { type AccessAction, type AccessRight, accessActions, rightText } from "../core/access.ts";
import { systemClock } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import { systemRandom } from "../core/ids.ts";
import { limits } from "../core/limits.ts";
import type { MetadataPlace } from "../serve/metadata-alone.ts";
import { metadataUrl } from "./agent.ts";
import { type Arguments, type CommandSpec, type OptionSpec, quote } from "./arguments.ts";
import { type CliIo, createStderrLogger } from "./cli-io.ts";
import { agentsOption, withHouse } from "./house-options.ts";
import { textTable } from "./text-table.ts";

const json = { json: { help: "print JSON instead of text" } } as const;

const places: Readonly<Record<string, OptionSpec>> = {
  data: { value: "DIR", help: "straight in this data folder, while no agent uses it" },
  metadata: { value: "URL", help: "straight in the database that agents share" },
  "metadata-file": {
    value: "FILE",
    help: "file with that URL, since it may hold a password (or the environment's STREAMHOUSE_METADATA)",
  },
  ...agentsOption,
};

const where =
  "Without --data, --metadata or --metadata-file an agent is asked, which needs a key that may administer every topic; with none given, " +
  "the environment's STREAMHOUSE_METADATA is used instead.";

export const keysCreateSpec: CommandSpec = {
  name: "keys create",
  summary: "Make an API key and print it",
  positionals: ["NAME"],
  options: {
    produce: { value: "TOPICS", help: "topics it may write" },
    consume: { value: "TOPICS", help: "topics it may read, also in groups" },
    admin: { value: "TOPICS", help: "topics it may create, alter and delete" },
    "expires-in": {
      value: "TIME",
      help: "how long it lives, such as 90d, 12h or 30m (default: it does not expire)",
    },
    ...json,
    ...places,
  },
  notes: [
    "TOPICS are beginnings of topics' names with commas between them: orders.,audit. for all that begin so; * for every topic.",
    "The key alone goes to standard output, once: nobody can be told it again. Metadata keeps a hash of it.",
    "admin of every topic also allows making and revoking keys.",
    where,
  ],
};

export async function runKeysCreate(args: Arguments, io: CliIo): Promise<number> {
  const rights = accessActions.flatMap((action) => rightsOf(args, action));
  if (rights.length === 0) {
    throw args.mistake("no right is given: use --produce, --consume or --admin with TOPICS");
  }
  const lifeMs = lifeOf(args);
  const name = args.positional(0);
  const key = await withKeys(args, io, (keys) => keys.create(name, { rights, lifeMs }));
  const { text, ...shown } = key;
  if (args.has("json")) {
    await io.stdout.write([JSON.stringify({ ...shown, key: text })]);
    return 0;
  }
  await io.stdout.write([text]);
  const until = shown.expiresAtMs === undefined ? "" : `, until ${time(shown.expiresAtMs)}`;
  io.stderr(`made key ${shown.id} (${shown.name}): ${rights.map(rightText).join(", ")}${until}`);
  return 0;
}

export const keysListSpec: CommandSpec = {
  name: "keys list",
  summary: "List the API keys, without their secrets",
  positionals: [],
  options: { ...json, ...places },
  notes: [where],
};

export async function runKeysList(args: Arguments, io: CliIo): Promise<number> {
  const keys = await withKeys(args, io, (it) => it.list());
  const rows = () => textTable(["ID", "NAME", "RIGHTS", "CREATED", "EXPIRES"], keys.map(rowOf));
  await io.stdout.write(args.has("json") ? [JSON.stringify(keys)] : rows());
  return 0;
}

export const keysRevokeSpec: CommandSpec = {
  name: "keys revoke",
  summary: "End an API key; agents refuse it within seconds",
  positionals: ["ID"],
  options: places,
  notes: [where],
};

export async function runKeysRevoke(args: Arguments, io: CliIo): Promise<number> {
  const id = args.positional(0);
  if (!/^[0-9A-Za-z]{1,64}$/.test(id)) {
    throw args.mistake(
      id.startsWith("sh_")
        ? "ID is the part between sh_ and the next _, not the whole key, which is now in this shell's history"
        : "ID is no key's id: see streamhouse keys list",
    );
  }
  const revoked = await withKeys(args, io, (keys) => keys.revoke(id));
  if (!revoked) {
    io.stderr(`streamhouse: there is no key ${id}: see streamhouse keys list`);
    return 1;
  }
  await io.stdout.write([`revoked key ${id}`]);
  return 0;
}

function rowOf(key: ApiKeyDescription): readonly (string | number)[] {
  const { id, name, rights, createdAtMs, expiresAtMs, isExpired } = key;
  const expires = expiresAtMs === undefined ? "never" : time(expiresAtMs);
  const rest = isExpired ? `${expires} (expired)` : expires;
  return [id, name, rights.map(rightText).join(", "), time(createdAtMs), rest];
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function rightsOf(args: Arguments, action: AccessAction): readonly AccessRight[] {
  const text = args.value(action);
  if (text === undefined) return [];
  return text.split(",").map((part) => {
    const topicPrefix = part.trim().replace(/\*$/, "");
    // An empty word is rather a variable that was not set than the wish for everything.
    if (part.trim() === "" || !/^[a-zA-Z0-9._-]*$/.test(topicPrefix)) {
      throw args.mistake(
        `--${action} has ${quote(part)}: use the beginning of topics' names, or * for every topic`,
      );
    }
    return { action, topicPrefix };
  });
}

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function lifeOf(args: Arguments): number | undefined {
  const text = args.value("expires-in");
  if (text === undefined) return undefined;
  const [, count = "", unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const lifeMs = Number(count) * (unitMs[unit as keyof typeof unitMs] ?? 0);
  if (lifeMs >= 1 && lifeMs <= limits.keyLifeMsMax) return lifeMs;
  throw args.mistake(`--expires-in is ${quote(text)}: use a time such as 30m, 12h or 90d`);
}

/** Straight in metadata where that is named, by an agent otherwise. */
async function withKeys<T>(
  args: Arguments,
  io: CliIo,
  work: (keys: KeysAdmin) => Promise<T>,
): Promise<T> {
  const place = await placeOf(args, io);
  if (place === undefined) return withHouse(args, io, (house) => work(house.admin.keys));
  // Loaded only here: the other commands start without a database (and Node 22's warning about SQLite).
  const { withKeysIn } = await import("./keys-in-metadata.ts");
  const logger = createStderrLogger(io.stderr);
  const components = { clock: systemClock, random: systemRandom, logger };
  return withKeysIn(place, components, work).catch((error: unknown) => {
    throw inUse(error) ? folderInUse(error) : error;
  });
}

async function placeOf(args: Arguments, io: CliIo): Promise<MetadataPlace | undefined> {
  const data = args.value("data");
  const named = args.value("metadata") ?? args.value("metadata-file");
  if (data !== undefined) {
    if (named === undefined && data !== "") return { data };
    throw args.mistake("--data goes without --metadata, and names a folder");
  }
  const showsKey = args.value("api-key-file") !== undefined || !!io.env?.STREAMHOUSE_API_KEY;
  if (named === undefined && showsKey) return undefined;
  const metadata = await metadataUrl(args, io);
  return metadata === undefined ? undefined : { metadata };
}

function inUse(error: unknown): error is StreamHouseError {
  return StreamHouseError.is(error) && error.code === "DATA_FOLDER_IN_USE";
}

function folderInUse(cause: StreamHouseError): StreamHouseError {
  const { code, kind } = cause;
  const message = `${cause.message}; while an agent uses it, ask that with --agents and a key that may administer every topic`;
  return new StreamHouseError({ code, kind, message, cause });
}

/**
 * Rights: what an API key may do with which topics. Pure, and known to both ends: metadata keeps them, agents judge by them, clients and
 * the command line write them. Who asks for what is decided in `agent/access-rules.ts`.
 */
import { invalid, type StreamHouseError } from "./errors.ts";
import { limits } from "./limits.ts";

/** `produce` write records · `consume` read records, and be a member of groups · `admin` create, alter and delete topics. */
export type AccessAction = "produce" | "consume" | "admin";

/** One action with the topics whose names begin with the prefix; the empty prefix is every topic. */
export interface AccessRight {
  readonly action: AccessAction;
  readonly topicPrefix: string;
}

/** Every action, in the order in which rights are shown. */
export const accessActions: readonly AccessAction[] = ["produce", "consume", "admin"];

/** What topic names are made of. */
const PREFIX = /^[a-zA-Z0-9._-]*$/;

/** Whether one of the rights allows the action with a topic of this name. */
export function allows(
  rights: readonly AccessRight[],
  action: AccessAction,
  topic: string,
): boolean {
  for (const right of rights) {
    if (right.action === action && topic.startsWith(right.topicPrefix)) return true;
  }
  return false;
}

/** Whether one of the rights allows the action with all topics: what concerns the whole cluster asks for that. */
export function allowsEverywhere(rights: readonly AccessRight[], action: AccessAction): boolean {
  return rights.some((it) => it.action === action && it.topicPrefix === "");
}

/** Whether one of the rights is of the action, for whichever topics. */
export function allowsSomewhere(rights: readonly AccessRight[], action: AccessAction): boolean {
  return rights.some((it) => it.action === action);
}

/** Whether one of the rights is about a topic of this name: its holder may know that there is one. */
export function allowsToSee(rights: readonly AccessRight[], topic: string): boolean {
  return rights.some((it) => topic.startsWith(it.topicPrefix));
}

/**
 * Checks what a new key is to be given.
 * @throws StreamHouseError `INVALID_ARGUMENT` (field `name`, `rights` or `rights[i].…`)
 */
export function checkKeySpec(name: string, rights: readonly AccessRight[]): void {
  // A name stands in logs and lists: a few printable characters, and nothing that could be taken for another field.
  if (!/^[\p{L}\p{N} ._@:/-]+$/u.test(name) || name.length > limits.keyNameCharactersMax) {
    throw wrong(
      "name",
      `the key's name is empty, longer than ${limits.keyNameCharactersMax} characters, or has others than letters, digits, spaces and . _ @ : / -`,
    );
  }
  if (rights.length < 1 || rights.length > limits.rightsPerKeyMax) {
    throw wrong("rights", `a key has 1 to ${limits.rightsPerKeyMax} rights, not ${rights.length}`);
  }
  rights.forEach(({ action, topicPrefix }, i) => {
    if (!accessActions.includes(action)) {
      throw wrong(`rights[${i}].action`, `an action is one of ${accessActions.join(", ")}`);
    }
    if (topicPrefix.length > limits.topicNameCharactersMax || !PREFIX.test(topicPrefix)) {
      throw wrong(
        `rights[${i}].topicPrefix`,
        `a topic prefix is empty (every topic) or the beginning of a topic's name: at most ${limits.topicNameCharactersMax} of a-z A-Z 0-9 . _ -`,
      );
    }
  });
}

/**
 * Checks how long a new key is to live.
 * @throws StreamHouseError `INVALID_ARGUMENT` (field `lifeMs`)
 */
export function checkKeyLife(lifeMs: number | undefined): void {
  if (lifeMs === undefined) return;
  if (Number.isSafeInteger(lifeMs) && lifeMs >= 1 && lifeMs <= limits.keyLifeMsMax) return;
  throw wrong(
    "lifeMs",
    `a key lives for 1 to ${limits.keyLifeMsMax} ms, not ${lifeMs}; left out, it does not expire`,
  );
}

/** As text for people: `produce orders.*`, `admin *`. */
export function rightText({ action, topicPrefix }: AccessRight): string {
  return `${action} ${topicPrefix}*`;
}

function wrong(field: string, message: string): StreamHouseError {
  return invalid("INVALID_ARGUMENT", message, { field });
}

/**
 * API keys, for programs and for the command line: made, listed and revoked by whoever has a key that may administer every topic. Part of
 * the admin client; `streamhouse keys` also uses it straight on metadata.
 */
import { type AccessRight, accessActions, checkKeyLife, checkKeySpec } from "../core/access.ts";
import { StreamHouseError } from "../core/errors.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import type { ApiKey as ApiKeyMessage } from "../rpc/gen/streamhouse/v1/admin.ts";
import type { AdminCallOptions } from "./admin-api.ts";

/** A key, as it is shown: never with its secret. */
export interface ApiKeyDescription {
  /** The public part of the key's text: what it is revoked by, and what agents' logs call it. */
  readonly id: string;
  readonly name: string;
  readonly rights: readonly AccessRight[];
  /** ms since 1970, by the cluster's clock. */
  readonly createdAtMs: number;
  /** Refused from here on; undefined: it does not expire. */
  readonly expiresAtMs: number | undefined;
  /** Whether that time has come, by the cluster's clock. */
  readonly isExpired: boolean;
}

/** A new key, and its text, which nobody can be told again. */
export interface CreatedApiKey extends ApiKeyDescription {
  /** `sh_<id>_<secret>`: what `connect({ apiKey })` takes. Keep it where secrets are kept. */
  readonly text: string;
}

/** Settings of a new key. */
export interface CreateKeyOptions extends AdminCallOptions {
  /** What it may do: 1 to 64 rights. */
  readonly rights: readonly AccessRight[];
  /** It is refused this long after its making, ms. Default: it does not expire. */
  readonly lifeMs?: number | undefined;
}

/** What an admin client offers for keys. Every method rejects with `StreamHouseError`. */
export interface KeysAdmin {
  /**
   * Makes a key. To replace one, make its follower under the same name, give that to all who use it, then revoke the old one.
   * @throws StreamHouseError `INVALID_ARGUMENT`, `PERMISSION_DENIED`, `NOT_SUPPORTED` where agents take calls without keys
   */
  create(name: string, options: CreateKeyOptions): Promise<CreatedApiKey>;
  /** Every key in the order of their making, the expired ones with them. */
  list(options?: AdminCallOptions): Promise<readonly ApiKeyDescription[]>;
  /** Ends a key: agents refuse it within seconds. False: there was none of this id. */
  revoke(id: string, options?: AdminCallOptions): Promise<boolean>;
}

/** The calls that it makes. */
export type KeysApi = Pick<AgentApi, "createKey" | "listKeys" | "revokeKey">;

/** Asks some agent; `always`: also again where the first question may have been heard. */
export type AskForKeys = <T>(
  options: AdminCallOptions,
  retry: "always" | "if-not-applied",
  ask: (api: KeysApi, call: CallContext) => Promise<T>,
) => Promise<T>;

export function createKeysAdmin(ask: AskForKeys): KeysAdmin {
  return {
    async create(name, { rights, lifeMs, ...options }) {
      checkKeySpec(name, rights);
      checkKeyLife(lifeMs);
      const request = { name, rights: rights.map((it) => ({ ...it })), lifeMs: lifeMs ?? 0 };
      // A second one after an unknown outcome would be another key, and the first one's text is lost.
      const answer = await ask(options, "if-not-applied", (api, call) =>
        api.createKey(request, call),
      );
      if (answer.key === undefined || answer.text === "") throw answersNoKey();
      return { ...describe(answer.key), text: answer.text };
    },
    async list(options = {}) {
      const answer = await ask(options, "always", (api, call) => api.listKeys({}, call));
      return answer.keys.map(describe);
    },
    async revoke(id, options = {}) {
      const answer = await ask(options, "always", (api, call) =>
        api.revokeKey({ keyId: id }, call),
      );
      return answer.revoked;
    },
  };
}

function describe(message: ApiKeyMessage): ApiKeyDescription {
  const { keyId, name, createdAtMs, expiresAtMs, expired } = message;
  // A right of a kind that only newer agents know cannot be said in this version's types.
  const rights = message.rights.flatMap(({ action, topicPrefix }) => {
    const known = accessActions.find((it) => it === action);
    return known === undefined ? [] : [{ action: known, topicPrefix }];
  });
  return { id: keyId, name, rights, createdAtMs, expiresAtMs, isExpired: expired };
}

function answersNoKey(): StreamHouseError {
  return new StreamHouseError({
    code: "INTERNAL",
    kind: "internal",
    outcome: "unknown",
    message: "the agent's answer has no key in it: is it as new as this client?",
  });
}

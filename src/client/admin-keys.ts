/**
 * API keys, for programs and for the command line: made, listed and revoked by whoever has a key that may administer every topic. Part of
 * the admin client; `streamhouse keys` also uses it straight on metadata.
 */
import { accessActions, checkKeyLife, checkKeySpec } from "../core/access.ts";
import { StreamHouseError } from "../core/errors.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import type { ApiKey as ApiKeyMessage } from "../rpc/gen/streamhouse/v1/admin.ts";
import type { AdminCallOptions, ApiKeyDescription, KeysAdmin } from "./admin-api.ts";

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

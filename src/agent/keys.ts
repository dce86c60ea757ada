/**
 * `AgentApi`'s calls about API keys. Makes the secret, tells it once, and gives metadata its hash. Never says a secret anywhere else.
 * Whether the caller may ask is judged before (`access.ts`). Called by the services.
 */
import { type AccessRight, accessActions, rightText } from "../core/access.ts";
import { createApiKey, formatApiKey } from "../core/api-key.ts";
import { invalid } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { limits } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import { hashSecret } from "../core/secret-hash.ts";
import type { ApiKeyInfo } from "../metadata/key-store.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { CallContext } from "../rpc/agent-api.ts";
import type {
  AccessRight as AccessRightMessage,
  ApiKey as ApiKeyMessage,
  CreateKeyRequest,
  CreateKeyResponse,
  ListKeysResponse,
  RevokeKeyRequest,
  RevokeKeyResponse,
} from "../rpc/gen/streamhouse/v1/admin.ts";

export interface KeysComponents {
  readonly metadata: MetadataStore;
  readonly random: RandomBytes;
  readonly logger: Logger;
  /** What this agent remembers of the keys is out of date. */
  readonly changed: () => void;
}

export class Keys {
  readonly #parts: KeysComponents;

  constructor(components: KeysComponents) {
    this.#parts = components;
  }

  async create(request: CreateKeyRequest, call: CallContext): Promise<CreateKeyResponse> {
    const { metadata, random, logger, changed } = this.#parts;
    const rights = request.rights.map(toRight);
    const text = createApiKey(random);
    const key = await metadata.createKey({
      ...{ id: text.id, name: request.name, rights, secretHash: hashSecret(text.secret) },
      lifeMs: request.lifeMs === 0 ? undefined : request.lifeMs,
    });
    changed();
    logger.info("an API key was made", {
      ...{ keyId: key.id, name: key.name, rights: rights.map(rightText).join(", ") },
      by: call.keyId ?? "this process",
    });
    return { key: toMessage(key, key.createdAtMs), text: formatApiKey(text) };
  }

  async list(): Promise<ListKeysResponse> {
    const { asOfMs, keys } = await this.#parts.metadata.listKeys();
    return { keys: keys.map((it) => toMessage(it, asOfMs)) };
  }

  async revoke(request: RevokeKeyRequest, call: CallContext): Promise<RevokeKeyResponse> {
    const { metadata, logger, changed } = this.#parts;
    const { keyId } = request;
    // Nothing longer is an id, and a whole key that was typed here by mistake must not go further.
    if (keyId.length > limits.keyNameCharactersMax || keyId.startsWith("sh_")) {
      throw invalid("INVALID_ARGUMENT", "key_id is no key's id: give the part after sh_ alone", {
        field: "key_id",
      });
    }
    const revoked = await metadata.revokeKey(keyId);
    changed();
    if (revoked) {
      logger.info("an API key was revoked", { keyId, by: call.keyId ?? "this process" });
    }
    return { revoked };
  }
}

function toRight({ action, topicPrefix }: AccessRightMessage, at: number): AccessRight {
  const known = accessActions.find((it) => it === action);
  if (known !== undefined) return { action: known, topicPrefix };
  throw invalid("INVALID_ARGUMENT", `an action is one of ${accessActions.join(", ")}`, {
    field: `rights[${at}].action`,
  });
}

function toMessage(key: ApiKeyInfo, nowMs: number): ApiKeyMessage {
  const { id, name, rights, createdAtMs, expiresAtMs } = key;
  return {
    ...{ keyId: id, name, createdAtMs, expiresAtMs },
    rights: rights.map((it) => ({ ...it })),
    expired: expiresAtMs !== undefined && expiresAtMs <= nowMs,
  };
}

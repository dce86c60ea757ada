/** API keys straight in metadata, with no agent between: for `streamhouse keys`. Loaded only when it is used. */
import { Keys, type KeysComponents } from "../agent/keys.ts";
import type { KeysAdmin } from "../client/admin-api.ts";
import { createKeysAdmin } from "../client/admin-keys.ts";
import type { Clock } from "../core/clock.ts";
import type { RandomBytes } from "../core/ids.ts";
import { type Logger, silentLogger } from "../core/logger.ts";
import { type MetadataPlace, withMetadata } from "../serve/metadata-alone.ts";

export interface KeysPlaceComponents {
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
}

/** Runs `work` with the keys that are kept there. @throws StreamHouseError as `withMetadata`, and what `work` throws */
export function withKeysIn<T>(
  place: MetadataPlace,
  components: KeysPlaceComponents,
  work: (keys: KeysAdmin) => Promise<T>,
): Promise<T> {
  return withMetadata(place, components, (metadata) => {
    // The command says itself what it did.
    const logger = silentLogger;
    const parts: KeysComponents = { metadata, random: components.random, logger, changed() {} };
    const keys = new Keys(parts);
    const api = {
      createKey: keys.create.bind(keys),
      listKeys: keys.list.bind(keys),
      revokeKey: keys.revoke.bind(keys),
    };
    return work(createKeysAdmin((_options, _retry, ask) => ask(api, {})));
  });
}

/** What a producer, a consumer or an admin client is made from. Composed by `house/connect.ts` and `serve/embed.ts`. */
import type { Clock } from "../core/clock.ts";
import type { RandomBytes } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import type { TelemetryOptions } from "../telemetry/telemetry.ts";
import type { Cluster } from "./cluster.ts";

export interface ClientContext {
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  /** Shown in group descriptions and logs. */
  readonly clientId: string;
  /** Each component makes its own `Telemetry` from these when it is constructed. */
  readonly telemetry: TelemetryOptions | false;
}

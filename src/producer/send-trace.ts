/** The span of one `send()`. Made by the producer's door when a sampled trace is active, ended by the record's entry. */
import type { StreamHouseError } from "../core/errors.ts";

export interface SendTrace {
  sent(partition: number, baseOffset: number): void;
  failed(error: StreamHouseError): void;
}

/** What every metadata store says of producer ids and their epochs. */
import { StreamHouseError } from "../core/errors.ts";

/** Epochs are int16 on the wire. A producer whose epochs are used up goes on under a new id, from epoch 0. */
export const PRODUCER_EPOCH_MAX = 32_767;

export interface ProducerIdentity {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/**
 * Whether a producer may have a newer epoch than the one it names. `newest`: what is stored; undefined if the id is unknown.
 * @throws StreamHouseError `UNKNOWN_PRODUCER`, `PRODUCER_FENCED`
 */
export function checkProducerEpoch(
  { producerId, producerEpoch }: ProducerIdentity,
  newest: number | undefined,
): void {
  if (newest === undefined) {
    throw new StreamHouseError({
      code: "UNKNOWN_PRODUCER",
      kind: "fenced",
      message: `producer id ${producerId} was never given out here: ask for a new one`,
    });
  }
  if (producerEpoch === newest) return;
  throw new StreamHouseError({
    code: "PRODUCER_FENCED",
    kind: "fenced",
    message:
      `producer ${producerId} has epoch ${newest}, ${producerEpoch} was given: another instance took ` +
      "over; make a new producer",
  });
}

/** The `outcome` label of a measured operation. Used by the decorators around stores and metadata. */
import { asStreamHouseError } from "../core/errors.ts";

/** Label of an operation that succeeded. */
export const OK = "ok";

/** The label of an operation that threw this. Codes are a closed list, so the label stays small. */
export function outcomeOf(error: unknown): string {
  return asStreamHouseError(error, "an operation").code;
}

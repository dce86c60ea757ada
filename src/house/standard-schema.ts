/**
 * The small interface that validation libraries share (Zod, Valibot, ArkType and others): version 1 of
 * https://standardschema.dev, copied as types so that no such library is a dependency. Only `typed-topic.ts` validates with it.
 */
import { StreamHouseError } from "../core/errors.ts";

/** A schema of any library: what goes in (`Input`) and what validation makes of it (`Output`). */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": StandardSchemaProps<Input, Output>;
}

/** What a schema library puts under `~standard`. Source: https://standardschema.dev */
export interface StandardSchemaProps<Input = unknown, Output = Input> {
  readonly version: 1;
  /** Name of the library. */
  readonly vendor: string;
  readonly validate: (
    value: unknown,
  ) => StandardSchemaResult<Output> | Promise<StandardSchemaResult<Output>>;
  /** Exists for the type checker only. */
  readonly types?: { readonly input: Input; readonly output: Output } | undefined;
}

/** The converted value, or what is wrong with the one given. */
export type StandardSchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardSchemaIssue[] };

/** One thing that is wrong with a value, and where in it. */
export interface StandardSchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** The type that a schema accepts. */
export type SchemaInput<S> = S extends StandardSchema<infer Input, unknown> ? Input : never;

/** The type that a schema answers. */
export type SchemaOutput<S> = S extends StandardSchema<unknown, infer Output> ? Output : never;

/** Issues named in a message; the rest are counted. */
const ISSUES_NAMED_MAX = 5;

/**
 * Validates a value. Answers at once unless the schema itself is asynchronous.
 * @throws StreamHouseError `SCHEMA_MISMATCH` naming `what` and the issues
 */
export function validate<Output>(
  schema: StandardSchema<unknown, Output>,
  value: unknown,
  what: string,
): Output | Promise<Output> {
  const result = schema["~standard"].validate(value);
  if (result instanceof Promise) return result.then((settled) => accept(settled, what));
  return accept(result, what);
}

function accept<Output>(result: StandardSchemaResult<Output>, what: string): Output {
  if (result.issues === undefined) return result.value;
  throw schemaMismatch(what, describe(result.issues));
}

/** The error for a value that is not what its topic holds. */
export function schemaMismatch(what: string, why: string, cause?: unknown): StreamHouseError {
  return new StreamHouseError({
    code: "SCHEMA_MISMATCH",
    kind: "invalid",
    message: `${what} does not match the topic's schema: ${why}`,
    field: "value",
    cause,
  });
}

function describe(issues: readonly StandardSchemaIssue[]): string {
  const named = issues.slice(0, ISSUES_NAMED_MAX).map((issue) => {
    const path = (issue.path ?? []).map((step) =>
      String(typeof step === "object" ? step.key : step),
    );
    return path.length === 0 ? issue.message : `${path.join(".")}: ${issue.message}`;
  });
  const more = issues.length - named.length;
  return more > 0 ? `${named.join("; ")}; and ${more} more` : named.join("; ");
}

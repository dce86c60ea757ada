/** Files that options name: certificates, keys, secrets. What they hold is never shown. Called by the commands. */
import { readFile } from "node:fs/promises";
import { type Arguments, quote } from "./arguments.ts";

/** Certificates and secrets are small: what is larger is the wrong file. */
const bytesMax = 1_048_576;

/** The text of the file that the option names, or undefined without the option. @throws UsageError */
export async function textFile(args: Arguments, option: string): Promise<string | undefined> {
  const path = args.value(option);
  if (path === undefined) return undefined;
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? String(error);
    throw args.mistake(`--${option} ${quote(path)} cannot be read: ${why}`);
  }
  if (bytes.length > bytesMax) {
    throw args.mistake(
      `--${option} ${quote(path)} is larger than ${bytesMax} bytes: is it the file?`,
    );
  }
  return new TextDecoder().decode(bytes);
}

/**
 * A secret: from the file that `--NAME-file` names (its first line), or else from the environment. Both keep it out of the list of
 * processes, which everybody on the machine can read.
 * @throws UsageError
 */
export async function secret(
  args: Arguments,
  option: string,
  fromEnvironment: string | undefined,
): Promise<string | undefined> {
  const text = await textFile(args, option);
  if (text === undefined) return fromEnvironment === "" ? undefined : fromEnvironment;
  const line = (text.split("\n", 1)[0] ?? "").trim();
  if (line !== "") return line;
  throw args.mistake(`--${option} ${quote(args.value(option) ?? "")} is empty`);
}

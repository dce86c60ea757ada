/** Reads `src` for the structure tests: files, lines, imports. Generated code is left out. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

export const root: string = fileURLToPath(new URL("../..", import.meta.url));

export interface SourceFile {
  /** Path from the repository's root with forward slashes, for instance `src/core/errors.ts`. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const IMPORT = /(?:^|\n)\s*(?:import|export)\b[^;"']*?\bfrom\s*["']([^"']+)["']/g;
const BARE_IMPORT = /(?:^|\n)\s*import\s*["']([^"']+)["']/g;
const DYNAMIC_IMPORT = /\bimport\(\s*["']([^"']+)["']\s*\)/g;

export function sourceFiles(folder = "src"): readonly SourceFile[] {
  const entries = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" });
  return entries
    .map((entry) => `${folder}/${entry.split(sep).join("/")}`)
    .filter((path) => path.endsWith(".ts") && !path.startsWith("src/rpc/gen/"))
    .sort()
    .map((path) => {
      const text = readFileSync(join(root, path), "utf8");
      const imports = [IMPORT, BARE_IMPORT, DYNAMIC_IMPORT].flatMap((pattern) =>
        Array.from(text.matchAll(pattern), (match) => match[1] ?? ""),
      );
      return { path, text, imports };
    });
}

/** The path of a relative import from the root, or undefined for a package. */
export function resolveImport(file: SourceFile, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const absolute = join(root, dirname(file.path), specifier);
  return relative(root, absolute).split(sep).join("/");
}

/** The wing of a file: the folder below `src`, or `doors` for the files directly in it. */
export function wingOf(path: string): string {
  const parts = path.split("/");
  return parts.length > 2 ? (parts[1] ?? "") : "doors";
}

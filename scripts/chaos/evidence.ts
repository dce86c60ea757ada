/** The folder of one run: journals, logs, schedule; and, if something is wrong, what the judge saw. Kept then, removed otherwise. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunEvidence } from "./checker.ts";

export class EvidenceFolder {
  readonly path: string;

  constructor(seed: number) {
    this.path = mkdtempSync(join(tmpdir(), `streamhouse-chaos-${seed}-`));
  }

  /** Of the run's progress. */
  line(text: string): void {
    appendFileSync(join(this.path, "progress.log"), `${text}\n`);
  }

  json(name: string, content: unknown): void {
    writeFileSync(join(this.path, name), JSON.stringify(content, null, 1));
  }

  /** Whatever is needed to understand a verdict: the log as each agent served it, and who committed what. */
  keep(evidence: RunEvidence): void {
    for (const { partitions, reader } of evidence.logs) {
      const lines = partitions.flatMap(({ epochs, ids, offsets }, partition) =>
        ids.map((id, i) => `${partition} ${offsets[i]} ${epochs[i]} ${id}\n`),
      );
      writeFileSync(join(this.path, `log-through-${reader}.txt`), lines.join(""));
    }
    this.json("commits.json", evidence.commits);
    this.json("overtaken.json", evidence.overtaken);
    this.json("holds.json", evidence.shared.holds);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/**
 * The members of a chaos run's two shared groups: one whose members journal what they process, and one that books it in a database. They
 * are killed, stopped, restarted in order, and joined by others. Started and ended by the world; hit by the injector.
 */
import type { SharedGroup } from "./checker.ts";
import { Client, type ClientSettings } from "./clients.ts";
import { memberSessionMs } from "./fault-kinds.ts";
import { parseReadJournal } from "./journal.ts";
import { parseHandouts } from "./member-journal.ts";
import type { MemberSettings } from "./programs/member.ts";

export const sharedGroups = { journaling: "team", booking: "books" } as const;

export type SharedGroupName = (typeof sharedGroups)[keyof typeof sharedGroups];

export interface MemberOptions {
  readonly group: SharedGroupName;
  readonly way: MemberSettings["way"];
  /** With a name that stays, its place is kept when it leaves in order. */
  readonly isStatic: boolean;
}

export class MemberClient extends Client {
  readonly options: MemberOptions;
  readonly #sink: string;

  /** `sink`: the address of the database that it books in. */
  constructor(settings: ClientSettings, index: number, options: MemberOptions, sink: string) {
    super(settings, "m", index);
    this.options = options;
    this.#sink = sink;
  }

  /** Of the start that runs. */
  get clientId(): string {
    return `${this.name}.${this.starts - 1}`;
  }

  /** Asks it to leave in order, and to end. @throws Error if it does not, or not with exit code 0 */
  finish(signal: AbortSignal): Promise<void> {
    this.signal("SIGTERM");
    return this.finished(signal);
  }

  pause(): void {
    this.signalRunning("SIGSTOP");
  }

  resume(): void {
    this.signalRunning("SIGCONT");
  }

  /** What all starts of these members wrote down. */
  static record(group: SharedGroupName, all: readonly MemberClient[]): SharedGroup {
    const ours = all.filter((it) => it.options.group === group);
    return {
      group,
      books: group === sharedGroups.booking,
      journals: ours.flatMap((it) => it.readJournals(parseReadJournal)),
      handouts: ours.flatMap((it) => it.readJournals((_, text) => parseHandouts(text))),
    };
  }

  protected program(run: string): { readonly file: string; readonly settings: MemberSettings } {
    const { agents, topic } = this.settings;
    const { group, isStatic, way } = this.options;
    const settings = {
      ...{ agents, topic, group, way, sessionTimeoutMs: memberSessionMs },
      ...{ clientId: run, journal: this.journalOf(run), sink: this.#sink },
      instanceId: isStatic ? this.name : "",
    };
    return { file: "scripts/chaos/programs/member.ts", settings };
  }
}

/**
 * What the benchmark asks of every system that it compares: topics with partitions, durable sends, reading from the start, and
 * following the end. StreamHouse is asked through the same port (`streamhouse.ts`) where the same program is measured.
 */

export interface PeerSetup {
  /** The contender's name in figures: system, and its sync mode where it has several. */
  readonly name: string;
  /** What its acknowledgement means, and through which client it is asked. */
  readonly note: string;
  /** Why it cannot run on this machine; undefined if it can. */
  readonly missing?: () => string | undefined;
  /** Starts the server over this empty folder and connects. */
  open(folder: string): Promise<Peer>;
}

export interface Peer {
  createTopic(topic: string, partitions: number): Promise<void>;
  /** Sends in the way that is quickest with this client. Resolves when every record is acknowledged. */
  sendMany(topic: string, chunks: readonly (readonly Uint8Array[])[]): Promise<void>;
  /** One record. Resolves when it is acknowledged. */
  sendOne(topic: string, value: Uint8Array): Promise<unknown>;
  /** Reads `count` records from the start, and answers how many bytes their values have. */
  readAll(topic: string, count: number): Promise<number>;
  /** Calls `onValue` for each record that comes from now on. Answers how to end it. */
  follow(topic: string, onValue: (value: Uint8Array) => void): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/** Partitions of systems that have none are so many streams. */
export function streamName(topic: string, partition: number): string {
  return `${topic}-${partition}`;
}

/** Runs `tasks` with at most `limit` unanswered at any time. Rejects with the first failure. */
export async function windowed<T>(
  items: Iterable<T>,
  limit: number,
  send: (item: T, place: number) => Promise<unknown>,
): Promise<void> {
  let place = 0;
  let open = 0;
  let failure: { readonly error: unknown } | undefined;
  let wake: () => void = () => {};
  const changed = () => {
    open--;
    wake();
  };
  for (const item of items) {
    open++;
    send(item, place++).then(changed, (error: unknown) => {
      failure ??= { error };
      changed();
    });
    while (open >= limit && failure === undefined) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (failure !== undefined) break;
  }
  while (open > 0 && failure === undefined) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  if (failure !== undefined) throw failure.error;
}

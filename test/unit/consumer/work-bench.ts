/** Handlers that a test holds in its hands: it sees which records are being worked on, and says when and how each of them ends. */
import type { DeadLetter, DeadLetterSender } from "../../../src/consumer/run-dead-letter.ts";
import type { RunContext, RunHandler } from "../../../src/consumer/run-options.ts";
import type { ConsumerRecord } from "../../../src/core/record.ts";
import { settle } from "../../../src/testing/manual-clock.ts";

interface Call {
  readonly record: ConsumerRecord;
  readonly context: RunContext;
  readonly end: (error?: unknown) => void;
}

export class WorkBench {
  /** What is being worked on, by value. */
  readonly calls: Map<string, Call> = new Map();
  /** Every call in the order in which they began: value and attempt. */
  readonly begun: string[] = [];
  most = 0;

  readonly handler: RunHandler = (record, context) => {
    const value = record.text();
    if (this.calls.has(value)) throw new Error(`${value} is being worked on already`);
    this.begun.push(context.attempt === 1 ? value : `${value}#${context.attempt}`);
    return new Promise<void>((resolve, reject) => {
      const end = (error?: unknown) => {
        this.calls.delete(value);
        if (error === undefined) resolve();
        else reject(error);
      };
      this.calls.set(value, { record, context, end });
      this.most = Math.max(this.most, this.calls.size);
    });
  };

  get working(): readonly string[] {
    return [...this.calls.keys()];
  }

  /** Ends these calls well, and lets what follows from it happen. */
  async finish(...values: readonly string[]): Promise<void> {
    for (const value of values) this.#call(value).end();
    await settle();
  }

  async fail(value: string, error: unknown): Promise<void> {
    this.#call(value).end(error);
    await settle();
  }

  signal(value: string): AbortSignal {
    return this.#call(value).context.signal;
  }

  #call(value: string): Call {
    const call = this.calls.get(value);
    if (call === undefined) {
      throw new Error(`nobody works on ${value}, only on ${this.working.join(", ")}`);
    }
    return call;
  }
}

/** A dead-letter topic that is a list. */
export class DeadLetters implements DeadLetterSender {
  readonly letters: DeadLetter[] = [];
  /** What the next sends reject with. */
  readonly faults: unknown[] = [];
  /** Set: sends wait for it. */
  gate: Promise<void> | undefined;
  made = 0;
  closed = 0;

  readonly source = (): DeadLetterSender => {
    this.made++;
    return this;
  };

  async send(letter: DeadLetter): Promise<{ partition: number; offset: number }> {
    await this.gate;
    if (this.faults.length > 0) throw this.faults.shift();
    this.letters.push(letter);
    return { partition: 0, offset: this.letters.length - 1 };
  }

  async close(): Promise<void> {
    this.closed++;
  }
}

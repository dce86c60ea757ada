/**
 * A house: one way to the agents, and all that an application opens over it. It makes producers, consumers and typed topics, and
 * closes what is still open when it is closed. It knows no transport and no agent: `connect.ts`, `serve/embed.ts` and
 * `testing/test-house.ts` compose it.
 */
import { createAdmin } from "../client/admin.ts";
import type { Admin } from "../client/admin-api.ts";
import type { ClientContext } from "../client/client-context.ts";
import { type Consumer, createConsumer } from "../consumer/consumer.ts";
import type { ConsumerOptions } from "../consumer/options.ts";
import { closed } from "../core/errors.ts";
import type { ProducerOptions } from "../producer/options.ts";
import { createProducer, type Producer } from "../producer/producer.ts";
import { createTelemetry, type Telemetry } from "../telemetry/telemetry.ts";
import { createDeadLetterSender } from "./dead-letter-sender.ts";
import { createTypedTopic, type TopicOptions, type TypedTopic } from "./typed-topic.ts";

/** What an application holds: everything else comes from here. */
export interface House extends AsyncDisposable {
  /** Topics, groups, the cluster. */
  readonly admin: Admin;
  /**
   * Makes a producer. It connects when the first record is sent.
   * @throws StreamHouseError `INVALID_ARGUMENT` for a bad option, `CLOSED`
   */
  producer(options?: ProducerOptions): Producer;
  /**
   * Makes a consumer. It connects when it is first read from.
   * @throws StreamHouseError `INVALID_ARGUMENT` for a bad option, `CLOSED`
   */
  consumer(options: ConsumerOptions): Consumer;
  /**
   * A topic whose values have a type, checked at both ends by any Standard Schema (Zod, Valibot, ArkType …) and written as JSON
   * unless a serializer says otherwise. The topic need not exist yet.
   */
  topic<Input = unknown, Output = Input>(
    name: string,
    options?: TopicOptions<Input, Output>,
  ): TypedTopic<Input, Output>;
  /**
   * Closes the consumers, then the producers, then the way to the agents. Consumers commit what is finished, producers send
   * what is pending. Idempotent; after it nothing runs.
   */
  close(): Promise<void>;
}

export interface HouseComponents {
  readonly context: ClientContext;
  /** Runs last in `close()`: what the house was opened over. */
  readonly release?: (() => Promise<void>) | undefined;
}

/** Called by whoever made the context. */
export function createHouse(components: HouseComponents): House {
  return new OpenHouse(components);
}

class OpenHouse implements House {
  readonly admin: Admin;
  readonly #context: ClientContext;
  readonly #release: () => Promise<void>;
  /** Of the admin client; producers and consumers have their own. */
  readonly #telemetry: Telemetry;
  readonly #consumers = new Set<Consumer>();
  readonly #producers = new Set<Producer>();
  #closing: Promise<void> | undefined;

  constructor(components: HouseComponents) {
    this.#context = components.context;
    this.#release = components.release ?? (async () => {});
    const { clock, cluster, random } = components.context;
    this.#telemetry = createTelemetry(components.context.telemetry, { name: "admin" });
    this.admin = createAdmin(cluster, { clock, random, telemetry: this.#telemetry });
  }

  producer(options: ProducerOptions = {}): Producer {
    this.#checkOpen();
    return tracked(createProducer(this.#context, options), this.#producers);
  }

  consumer(options: ConsumerOptions): Consumer {
    this.#checkOpen();
    const deadLetters = () => createDeadLetterSender(this.#context);
    return tracked(createConsumer(this.#context, options, { deadLetters }), this.#consumers);
  }

  topic<Input = unknown, Output = Input>(
    name: string,
    options: TopicOptions<Input, Output> = {},
  ): TypedTopic<Input, Output> {
    this.#checkOpen();
    return createTypedTopic<Input, Output>(this, this.#context.logger, name, options);
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw closed("this house");
  }

  /** Everything is closed even if closing something failed; the first failure is told at the end. */
  async #closeAll(): Promise<void> {
    const failures: unknown[] = [];
    const closeEach = async (open: Iterable<{ close(): Promise<void> }>) => {
      for (const result of await Promise.allSettled([...open].map((it) => it.close()))) {
        if (result.status === "rejected") failures.push(result.reason);
      }
    };
    // Consumers first: what they process may be sent on by the producers.
    await closeEach(this.#consumers);
    await closeEach(this.#producers);
    await closeEach([{ close: () => this.#context.cluster.close() }, { close: this.#release }]);
    this.#telemetry.close();
    if (failures.length > 0) throw failures[0];
  }
}

/**
 * Keeps `made` in `open` until it is closed, by whichever way its user closes it, so that a house which lives long and opens
 * many does not hold on to the closed ones.
 */
function tracked<T extends AsyncDisposable & { close(): Promise<void> }>(made: T, open: Set<T>): T {
  open.add(made);
  const close = made.close.bind(made);
  const closeAndForget: typeof close = (...args) => close(...args).finally(() => open.delete(made));
  made.close = closeAndForget;
  made[Symbol.asyncDispose] = () => closeAndForget();
  return made;
}

/** Puts the rooms of a producer together: who tells whom. Called once by the producer's door. */
import type { ClientContext } from "../client/client-context.ts";
import type { StreamHouseError } from "../core/errors.ts";
import { createTelemetry } from "../telemetry/telemetry.ts";
import { Accumulator } from "./accumulator.ts";
import { Answers } from "./answers.ts";
import { ProducerInstruments } from "./instruments.ts";
import type { ResolvedProducerOptions } from "./options.ts";
import { createProducerAudit } from "./producer-audit.ts";
import { Sender } from "./sender.ts";
import { ProducerIdentity } from "./sequence.ts";
import { TopicFinder } from "./topic-finder.ts";
import { ProducerTracing } from "./tracing.ts";

export interface ProducerParts {
  readonly accumulator: Accumulator;
  readonly tracing: ProducerTracing;
  /** Fails what is still pending and ends everything that runs. */
  end(): Promise<void>;
}

export function createProducerParts(
  context: ClientContext,
  options: ResolvedProducerOptions,
): ProducerParts {
  const { cluster, clock, random } = context;
  const telemetry = createTelemetry(context.telemetry, { name: "producer" });
  const ending = new AbortController();
  const ended = ending.signal;
  const tracing = new ProducerTracing(telemetry);
  const instruments = new ProducerInstruments(telemetry);
  const backoff = { baseMs: options.retryBackoffMs, maxMs: options.retryBackoffMaxMs };
  const onRetry = (error: StreamHouseError) => instruments.retried(error.code);
  const outside = { cluster, clock, random, ended, onRetry };

  const accumulator: Accumulator = new Accumulator(options, clock, instruments, {
    offer: (partition) => sender.offer(partition),
    find: (topic, how) => finder.find(topic, how),
    refresh: (topic) => finder.refresh(topic),
    wakeAt: (at) => sender.wakeAt(at),
    deadlineAt: (at) => sender.deadlineAt(at),
  });
  const finder: TopicFinder = new TopicFinder(outside, backoff, {
    found: (topic) => {
      accumulator.line.resume(topic);
      for (const partition of topic.partitions) sender.offer(partition);
    },
    lost: (topic, error) => answers.topicLost(topic, error),
    unwanted: (topic) => accumulator.forget(topic),
  });
  const { requestTimeoutMs } = options;
  const identity: ProducerIdentity = new ProducerIdentity(
    outside,
    { requestTimeoutMs, backoff },
    {
      ready: () => sender.offerAll(),
      refused: (error) => answers.identityRefused(error),
      wanted: () => accumulator.live.size > 0,
    },
  );
  const answers: Answers = new Answers(options, {
    cluster,
    clock,
    random,
    accumulator,
    identity,
    finder,
  });
  const sender: Sender = new Sender(options, {
    ...outside,
    accumulator,
    answers,
    identity,
    finder,
    instruments,
    tracing,
  });

  const { metrics } = telemetry;
  const audit = createProducerAudit({ metrics, accumulator, answers });
  const stopAudit = metrics.onCollect(() => audit.check());

  return {
    accumulator,
    tracing,
    async end() {
      answers.failAll();
      stopAudit();
      ending.abort();
      await sender.close();
      telemetry.close();
    },
  };
}

/**
 * What `consumer.run` writes dead letters with: a producer of its own, with the defaults, so that a letter is durable and there once when
 * its record counts as finished. Made by a house for a consumer that needs it, closed with that consumer.
 */
import type { ClientContext } from "../client/client-context.ts";
import type { DeadLetterSender } from "../consumer/run-dead-letter.ts";
import { createProducer } from "../producer/producer.ts";

/** It connects when the first dead letter is sent. */
export function createDeadLetterSender(context: ClientContext): DeadLetterSender {
  const producer = createProducer(context);
  return {
    send: (letter) => producer.send(letter),
    close: (timeoutMs) => producer.close({ timeoutMs }),
  };
}

/** What `consumer.run` measures, in the application's process. Part of the catalogue. */
import { define, type InstrumentDescriptor, SECONDS } from "./instrument.ts";

export type RunInstrumentKey =
  | "runRecords"
  | "runRetries"
  | "runPutOff"
  | "runDeadLetterErrors"
  | "runHandlerDuration"
  | "runInFlight"
  | "runBlocked"
  | "runWaiting"
  | "runOldest";

export const runInstruments: Readonly<Record<RunInstrumentKey, InstrumentDescriptor>> = {
  runRecords: define(
    "counter",
    "streamhouse.consumer.run.records",
    "{record}",
    "Records that a handler was given and that are over: done, dead_lettered, or uncommitted (the run ended, or the partition went)",
    ["topic", "group_id", "outcome"],
  ),
  runRetries: define(
    "counter",
    "streamhouse.consumer.run.retries",
    "{retry}",
    "Attempts that are made again because the handler failed, by what it threw",
    ["topic", "group_id", "error.type"],
  ),
  runPutOff: define(
    "counter",
    "streamhouse.consumer.run.put_off",
    "{record}",
    "Times that a handler put a record off with RetryLater",
    ["topic", "group_id"],
  ),
  runDeadLetterErrors: define(
    "counter",
    "streamhouse.consumer.run.dead_letter.errors",
    "{record}",
    "Records that could not be written to the dead-letter topic; they stay uncommitted",
    ["topic", "group_id", "error.type"],
  ),
  runHandlerDuration: define(
    "histogram",
    "streamhouse.consumer.run.handler.duration.seconds",
    "s",
    "Duration of one call of a handler; outcome ok, put_off or error",
    ["topic", "group_id", "outcome"],
    SECONDS,
  ),
  runInFlight: define(
    "upDownCounter",
    "streamhouse.consumer.run.in_flight",
    "{record}",
    "Records that handlers are working on, or that are on their way to the dead-letter topic",
    ["group_id"],
  ),
  runBlocked: define(
    "upDownCounter",
    "streamhouse.consumer.run.blocked",
    "{record}",
    "Records that wait for another attempt, after a failure or a RetryLater",
    ["group_id"],
  ),
  runWaiting: define(
    "upDownCounter",
    "streamhouse.consumer.run.waiting",
    "{record}",
    "Records taken ahead that wait for a slot, or for an earlier record of their key or partition",
    ["group_id"],
  ),
  runOldest: define(
    "gauge",
    "streamhouse.consumer.run.oldest.seconds",
    "s",
    "Since the first attempt of the record that was begun longest ago and is not over; 0 without one",
    ["group_id"],
  ),
};

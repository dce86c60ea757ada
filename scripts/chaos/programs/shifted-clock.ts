/**
 * Loaded before an agent's program: its wall clock is off by `CHAOS_CLOCK_OFFSET_MS`, jumps by `CHAOS_CLOCK_JUMP_MS` after
 * `CHAOS_CLOCK_JUMP_AFTER_MS`, and its monotonic clock runs at `CHAOS_CLOCK_RATE` times the true speed. For everything in the process,
 * the AWS SDK's signatures included. Timers fire when they do.
 */
import process from "node:process";

const numberOf = (name: string, fallback: number): number => Number(process.env[name] ?? fallback);

const TrueDate = Date;
const trueMonotonic = performance.now.bind(performance);
const jumpAtMs = trueMonotonic() + numberOf("CHAOS_CLOCK_JUMP_AFTER_MS", 0);
const jumpMs = numberOf("CHAOS_CLOCK_JUMP_MS", 0);
const offsetMs = numberOf("CHAOS_CLOCK_OFFSET_MS", 0);
const rate = numberOf("CHAOS_CLOCK_RATE", 1);

function now(): number {
  const jumped = trueMonotonic() >= jumpAtMs ? jumpMs : 0;
  return TrueDate.now() + offsetMs + jumped;
}

globalThis.Date = new Proxy(TrueDate, {
  construct: (target, args: unknown[], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  apply: () => new TrueDate(now()).toString(),
  get: (target, name) => (name === "now" ? now : Reflect.get(target, name)),
});
performance.now = () => trueMonotonic() * rate;

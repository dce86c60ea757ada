/**
 * The faults after which a shared group gives its partitions to others: a member that leaves, that sleeps beyond its session, that comes.
 * While one sleeps, calls with its identity are tried on every agent, as it would make them if it knew of nothing: all must be refused.
 * Called by the injector.
 */
import { setTimeout as wait } from "node:timers/promises";
import { createGrpcTransport } from "../../src/client/grpc-transport.ts";
import { systemClock } from "../../src/core/clock.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import type { AgentApi } from "../../src/rpc/agent-api.ts";
import type { MemberClient } from "./members.ts";
import type { Seeded } from "./seeded.ts";
import { until } from "./waiting.ts";
import type { MemberHoldings } from "./witness.ts";
import { topic, type World } from "./world.ts";

const refusals: ReadonlySet<string> = new Set(["GROUP_FENCED", "UNKNOWN_MEMBER"]);

/** A program that is still starting knows nothing of signals, and could not leave in order. */
export async function joined(world: World, member: MemberClient): Promise<void> {
  const { signal } = world.options;
  const { group } = member.options;
  const look = () => world.witness.memberOf(group, member.clientId, signal);
  await until(`${member.name} to be a member`, look, { signal });
}

export class Regrouping {
  /** What was not refused, in words. */
  readonly staleAccepted: string[] = [];
  /** Calls of stale members that were refused. */
  staleRefused = 0;
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  async memberRestart(member: MemberClient | undefined, lastsMs: number): Promise<void> {
    if (member === undefined) return;
    try {
      await joined(this.#world, member);
      await member.finish(this.#signal);
    } catch (error) {
      this.#signal.throwIfAborted();
      this.#world.trouble(`${member.name} did not leave in order: ${String(error)}`);
      await member.kill();
    }
    await this.#wait(lastsMs);
    await member.start();
  }

  async memberPauseShort(member: MemberClient | undefined, lastsMs: number): Promise<void> {
    member?.pause();
    try {
      await this.#wait(lastsMs);
    } finally {
      member?.resume();
    }
  }

  /** Wakes it when others have everything that it had. */
  async memberPauseLong(member: MemberClient | undefined, lastsMs: number): Promise<void> {
    if (member === undefined) return;
    const { clientId, name } = member;
    const { group } = member.options;
    const { witness } = this.#world;
    await until(
      `${name} to have partitions`,
      async () => {
        const now = await witness.memberOf(group, clientId, this.#signal);
        return now !== undefined && now.partitions.length > 0;
      },
      { signal: this.#signal },
    );
    member.pause();
    try {
      // Asked only now: it may have got others in the last moment.
      const stale = await witness.memberOf(group, clientId, this.#signal);
      await this.#wait(lastsMs);
      if (stale === undefined || stale.partitions.length === 0) return;
      await until(
        `others to have what ${name} had`,
        async () => {
          const holders = await witness.holdersOf(group, stale.partitions, this.#signal);
          return holders.every((it) => it !== "" && it !== stale.memberId);
        },
        { signal: this.#signal },
      );
      for (const { address } of this.#world.agents) await this.#tryStale(group, stale, address);
    } finally {
      member.resume();
    }
  }

  /** One more of the group that journals, or of the one that books. */
  async memberMore(lastsMs: number, random: Seeded): Promise<void> {
    const member = this.#world.makeMember(random.chance(0.7) ? "journaling" : "booking");
    await member.start();
    await joined(this.#world, member);
    await this.#wait(lastsMs);
    if (random.chance(0.5)) await member.kill();
    else {
      await member.finish(this.#signal).catch((error: unknown) => {
        this.#signal.throwIfAborted();
        this.#world.trouble(`${member.name} did not leave in order: ${String(error)}`);
        return member.kill();
      });
    }
  }

  async #tryStale(group: string, stale: MemberHoldings, address: string): Promise<void> {
    const { memberEpoch, memberId } = stale;
    const { partitions: all } = await this.#world.witness.holdings(topic, this.#signal);
    const topicId = all[0]?.topicId ?? "";
    const partition = stale.partitions[0] ?? 0;
    const at = { topicId, partition, offset: 0 };
    const identity = { group, memberId, memberEpoch };
    const calls = {
      commit: (api: AgentApi) =>
        api.commitOffsets(
          { ...identity, offsets: [{ ...at, metadata: "" }], forwardOnly: false },
          {},
        ),
      fetch: async (api: AgentApi) => {
        const terms = { maxWaitMs: 0, minBytes: 1, maxBytes: 0 };
        const answer = await api.fetch(
          { ...terms, ...identity, partitions: [{ ...at, maxBytes: 0 }] },
          {},
        );
        const error = answer.partitions[0]?.error;
        if (error !== undefined) throw new Error(`${error.code}`);
      },
    };
    const transport = createGrpcTransport({ clock: systemClock }, { addresses: [address] });
    try {
      const { api } = transport.connection(address);
      for (const [what, call] of Object.entries(calls))
        await this.#tryOnce(what, () => call(api), memberId);
    } finally {
      await transport.close();
    }
  }

  /** An agent that is away now is asked a few times; what it says of a stale member is the same then. */
  async #tryOnce(what: string, call: () => Promise<unknown>, memberId: string): Promise<void> {
    for (let tries = 1; tries <= 5; tries++) {
      try {
        await call();
        this.staleAccepted.push(
          `a ${what} of ${memberId}, whose partitions were others', was accepted`,
        );
        return;
      } catch (error) {
        if (StreamHouseError.is(error) && refusals.has(error.code)) {
          this.staleRefused += 1;
          return;
        }
        await this.#wait(300);
      }
    }
  }

  get #signal(): AbortSignal {
    return this.#world.options.signal;
  }

  async #wait(ms: number): Promise<void> {
    await wait(ms, undefined, { signal: this.#signal });
  }
}

/**
 * Who may call, and what: a gate around `AgentApi`. It finds out whose key was shown, judges what the request asks for, passes it on,
 * and leaves out of the answer what the key may not see. It decides by `access-rules.ts` and knows no gRPC. The agent's own API has no
 * gate: who is in the same process is the process. Made with each agent; called by its gRPC server where keys are on.
 */
import { allowsEverywhere } from "../core/access.ts";
import type { Clock } from "../core/clock.ts";
import { invalid, StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import type { CallAccess, ShownCall } from "../rpc/call-access.ts";
import { unaryMethods } from "../rpc/methods.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { Refusals } from "./access-refusals.ts";
import { judge, type MissingRight, type TopicNames } from "./access-rules.ts";
import { AccessSight } from "./access-sight.ts";
import { AdmittedStream } from "./admitted-stream.ts";
import {
  isStranger,
  KeyRing,
  type Principal,
  readCredential,
  type ShownKey,
  type Stranger,
} from "./key-ring.ts";
import type { Topics } from "./topics.ts";

/** Access by API keys, as an agent's servers ask for it. */
export interface AccessControl extends CallAccess {
  /** Whether the credential is that of a key that may administer everything. Never rejects: who cannot be found out may not. */
  mayAdminister(credential: string | undefined): Promise<boolean>;
  /** Keys were made or revoked through this agent. */
  keysChanged(): void;
}

export interface AccessComponents {
  /** Without a gate. */
  readonly api: AgentApi;
  readonly metadata: Pick<MetadataStore, "listKeys" | "describeGroup" | "lagSnapshot">;
  readonly topics: Pick<Topics, "byId" | "find">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
}

export function createAccessControl(components: AccessComponents): AccessControl {
  return new Access(components);
}

type Request<K extends keyof AgentApi> = Parameters<AgentApi[K]>[0];
type Answer<K extends keyof AgentApi> = Awaited<ReturnType<AgentApi[K]>>;

const PRODUCE = unaryMethods.produce.path.slice(1);

class Access implements AccessControl {
  readonly api: AgentApi;
  readonly #parts: AccessComponents;
  readonly #ring: KeyRing;
  readonly #refusals: Refusals;
  readonly #sight: AccessSight;

  constructor(components: AccessComponents) {
    this.#parts = components;
    this.#ring = new KeyRing({ store: components.metadata, clock: components.clock });
    this.#refusals = new Refusals(components);
    this.#sight = new AccessSight({
      metadata: components.metadata,
      names: this.#names,
      learn: (topicId) => this.#learn(topicId),
    });
    const methods = Object.keys(unaryMethods) as (keyof AgentApi)[];
    const gated = methods.map((method) => [method, this.#gated(method)] as const);
    // Each call keeps the types that its caller sees; only in between they are unknown.
    this.api = Object.fromEntries(gated) as unknown as AgentApi;
  }

  keysChanged(): void {
    this.#ring.forget();
  }

  async authenticate(call: ShownCall): Promise<void> {
    await this.#identify(readCredential(call.credential), call);
  }

  async mayAdminister(credential: string | undefined): Promise<boolean> {
    const shown = readCredential(credential);
    if (isStranger(shown)) return false;
    try {
      const found = await this.#ring.find(shown);
      return !isStranger(found) && allowsEverywhere(found.rights, "admin");
    } catch {
      return false;
    }
  }

  async openProduceStream(call: ShownCall): Promise<Pick<AgentApi, "produce">> {
    const shown = readCredential(call.credential);
    const opened = { ...call, method: PRODUCE };
    const principal = await this.#identify(shown, call);
    const missing = judge(principal.rights, "initProducer", nothing, this.#names);
    if (missing !== undefined) throw this.#refusals.denied(call, principal, missing);
    return new AdmittedStream({
      produce: (request, context) => this.#parts.api.produce(request, context),
      admit: (request, { traceparent, tracestate }) =>
        this.#admit(shown, "produce", request, { ...opened, traceparent, tracestate }),
    });
  }

  #gated<K extends keyof AgentApi>(method: K): (request: Request<K>, call: CallContext) => unknown {
    const path = unaryMethods[method].path.slice(1);
    const pass = this.#parts.api[method] as (
      request: Request<K>,
      call: CallContext,
    ) => Promise<Answer<K>>;
    return async (request, { credential, ...call }) => {
      const shown = readCredential(credential);
      const { traceparent, tracestate } = call;
      const asked = { method: path, credential: undefined, traceparent, tracestate };
      const principal = await this.#admit(shown, method, request, asked);
      const missing = await this.#sight.missingBeyond(principal.rights, method, request);
      if (missing !== undefined) throw this.#refusals.denied(asked, principal, missing);
      const answer = await pass(request, { ...call, keyId: principal.keyId });
      if (method !== "fetch") return this.#sight.visible(principal.rights, method, answer);
      // It may have waited for a minute, and the key have ended meanwhile.
      await this.#admit(shown, method, request, asked);
      return answer;
    };
  }

  /** Whose key it is, once it is found good and to have the rights; at once where nothing must be asked. Throws or rejects otherwise. */
  #admit<K extends keyof AgentApi>(
    shown: ShownKey | Stranger,
    method: K,
    request: Request<K>,
    call: ShownCall,
  ): Principal | Promise<Principal> {
    const principal = this.#identify(shown, call);
    return principal instanceof Promise
      ? principal.then((it) => this.#permit(it, method, request, call))
      : this.#permit(principal, method, request, call);
  }

  #identify(shown: ShownKey | Stranger, call: ShownCall): Principal | Promise<Principal> {
    if (isStranger(shown)) throw this.#refusals.stranger(call, shown);
    const found = this.#ring.find(shown);
    if (!(found instanceof Promise)) return this.#known(found, call);
    return found.then(
      (it) => this.#known(it, call),
      (error: unknown) => {
        throw this.#refusals.unavailable(call, error);
      },
    );
  }

  #known(found: Principal | Stranger, call: ShownCall): Principal {
    if (isStranger(found)) throw this.#refusals.stranger(call, found);
    return found;
  }

  #permit<K extends keyof AgentApi>(
    principal: Principal,
    method: K,
    request: Request<K>,
    call: ShownCall,
  ): Principal | Promise<Principal> {
    let unknown: string | undefined;
    const missing = judge(principal.rights, method, request, (topicId) => {
      const name = this.#names(topicId);
      if (name === undefined) unknown ??= topicId;
      return name;
    });
    // It may be another agent's topic of a moment ago: it is judged by its name, or found not to exist.
    if (unknown !== undefined) {
      return this.#learn(unknown).then(() =>
        this.#judged(principal, judge(principal.rights, method, request, this.#names), call),
      );
    }
    return this.#judged(principal, missing, call);
  }

  #judged(principal: Principal, missing: MissingRight | undefined, call: ShownCall): Principal {
    if (missing !== undefined) throw this.#refusals.denied(call, principal, missing);
    return principal;
  }

  readonly #names: TopicNames = (topicId) => this.#parts.topics.byId(topicId)?.name;

  /** Looks for topics that are not known here: the whole list is read for one of them. */
  async #learn(topicId: string): Promise<void> {
    try {
      await this.#parts.topics.find({ name: "", topicId });
    } catch (error) {
      if (!StreamHouseError.is(error) || error.code !== "TOPIC_NOT_FOUND") throw error;
    }
  }
}

const nothing = { producerId: 0, producerEpoch: 0 };

/** The calls about keys, closed: while anybody may call, a key that somebody made for himself would still be good once keys are on. */
export function withoutKeyCalls(api: AgentApi): AgentApi {
  const refuse = () => Promise.reject(keysAreOff());
  const methods = Object.keys(unaryMethods) as (keyof AgentApi)[];
  const passed = methods.map(
    (method) => [method, (api[method] as unknown as () => void).bind(api)] as const,
  );
  const rest = Object.fromEntries(passed) as unknown as AgentApi;
  return { ...rest, createKey: refuse, listKeys: refuse, revokeKey: refuse };
}

function keysAreOff(): StreamHouseError {
  return invalid(
    "NOT_SUPPORTED",
    "this agent takes calls without API keys, so nobody can be let in to make, see or revoke them here: use " +
      "`streamhouse keys` with --data or --metadata, then start agents with --require-keys",
  );
}

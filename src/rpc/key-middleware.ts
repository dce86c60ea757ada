/**
 * Asks for a key before a service that is not the agent's own: health and reflection. Streams are asked again with each message, so that
 * they end when their key does. Called by `agent/server.ts`.
 */
import type { CallContext, ServerMiddleware, ServerMiddlewareCall } from "nice-grpc-common";
import type { Logger } from "../core/logger.ts";
import { refuse, shownCall } from "./agent-services.ts";
import type { CallAccess } from "./call-access.ts";

export interface KeyMiddlewareComponents {
  readonly access: CallAccess;
  readonly logger: Logger;
}

export function keyMiddleware(components: KeyMiddlewareComponents): ServerMiddleware {
  return async function* asked<Request, Response>(
    call: ServerMiddlewareCall<Request, Response>,
    context: CallContext,
  ): AsyncGenerator<Response, Response | undefined, undefined> {
    const method = call.method.path.slice(1);
    const shown = shownCall(context, method);
    const check = async (): Promise<void> => {
      try {
        await components.access.authenticate(shown);
      } catch (error) {
        throw refuse(error, method, context, components.logger);
      }
    };
    await check();
    const request = call.requestStream ? each(call.request, check) : call.request;
    if (!call.responseStream) return yield* call.next(request, context);
    yield* each(call.next(request, context), check);
    return undefined;
  };
}

async function* each<T>(
  messages: AsyncIterable<T>,
  check: () => Promise<void>,
): AsyncGenerator<T, void, undefined> {
  for await (const message of messages) {
    await check();
    yield message;
  }
}

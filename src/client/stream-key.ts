/** The key of one stream: had before the stream is opened, and the same for its whole life. Used by `grpc-produce-channel.ts`. */
import { asStreamHouseError, type StreamHouseError } from "../core/errors.ts";
import type { Authorizer } from "./api-key.ts";

export class StreamKey {
  readonly #authorizer: Authorizer;
  #authorization: string | undefined;
  #asks = false;

  constructor(authorizer: Authorizer) {
    this.#authorizer = authorizer;
  }

  /** What the stream carries as `authorization`, once it is at hand. */
  get authorization(): string | undefined {
    return this.#authorization;
  }

  /** Whether the stream can be opened now. If not, one of the two is called when the application has given its key, or has not. */
  atHand(later: () => void, failed: (error: StreamHouseError) => void): boolean {
    if (this.#asks) return false;
    const fail = (thrown: unknown) => failed(asStreamHouseError(thrown, "asking for the key"));
    try {
      const known = this.#authorization ?? this.#authorizer.authorization();
      if (typeof known !== "object") {
        this.#authorization = known;
        return true;
      }
      this.#asks = true;
      void known.then((it) => {
        this.#asks = false;
        this.#authorization = it;
        later();
      }, fail);
    } catch (error) {
      fail(error);
    }
    return false;
  }

  /** The error of this stream or of one of its frames; see `Authorizer.judge`. */
  judge(error: StreamHouseError): StreamHouseError {
    return this.#authorizer.judge(error, this.#authorization);
  }
}

/**
 * What an operator should know of a server's certificate before the first client complains: names that do not fit the address that
 * clients are told, and its time. Called by `serve.ts` at the start and at each renewal.
 */
import type { Logger } from "../core/logger.ts";
import { hostOf } from "../rpc/channel.ts";
import { certificateFacts } from "../rpc/tls-gate.ts";

/** Said this long before the end. */
const WARN_MS = 14 * 86_400_000;

/** Says what is wrong with the certificate in `pem` for clients that are told `advertised`, `host:port`. */
export function checkCertificate(
  pem: string,
  advertised: string,
  components: { readonly logger: Logger; readonly now: number },
): void {
  const { logger, now } = components;
  const { names, validFromMs, validToMs, holds } = certificateFacts(pem);
  if (!holds(hostOf(advertised))) {
    logger.warn(
      "the certificate does not hold the name that clients are told: they will refuse it; set advertise to a name that it holds",
      { advertised, names },
    );
  }
  const validTo = new Date(validToMs).toISOString();
  if (validToMs <= now) logger.warn("the certificate has expired", { validTo });
  else if (validToMs - now < WARN_MS) logger.warn("the certificate expires soon", { validTo });
  if (validFromMs > now) {
    const validFrom = new Date(validFromMs).toISOString();
    logger.warn("the certificate is not valid yet", { validFrom });
  }
}

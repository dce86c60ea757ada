import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { s3Error } from "../../../src/storage/s3-errors.ts";

const put = { doing: "put", key: "segments/a.seg", bucket: "b12", writes: true };
const get = { ...put, doing: "get", writes: false };

/** As the SDK throws it. */
function answer(status: number | undefined, name: string, more: object = {}) {
  const message = "secret AKIAKEY Signature=abc";
  return Object.assign(new Error(message), { name, $metadata: { httpStatusCode: status } }, more);
}

describe("an error of S3", () => {
  const cases: readonly (readonly [unknown, string, boolean, string, RegExp])[] = [
    [answer(412, "PreconditionFailed"), "OBJECT_EXISTS", false, "none", /segments\/a\.seg/],
    [answer(409, "ConditionalRequestConflict"), "STORE_UNAVAILABLE", true, "none", /under way/],
    [answer(409, "OperationAborted"), "STORE_UNAVAILABLE", true, "none", /under way/],
    [answer(503, "SlowDown"), "STORE_UNAVAILABLE", true, "none", /busy/],
    [answer(429, "UnknownError"), "STORE_UNAVAILABLE", true, "none", /busy/],
    [answer(400, "RequestTimeout"), "STORE_UNAVAILABLE", true, "none", /RequestTimeout/],
    [answer(400, "BadDigest"), "STORE_UNAVAILABLE", true, "none", /BadDigest/],
    [answer(500, "InternalError"), "STORE_UNAVAILABLE", true, "unknown", /HTTP 500/],
    [answer(502, "UnknownError"), "STORE_UNAVAILABLE", true, "unknown", /HTTP 502/],
    [answer(404, "NoSuchBucket"), "STORE_UNAVAILABLE", false, "none", /create the bucket/],
    [answer(403, "AccessDenied"), "STORE_UNAVAILABLE", false, "none", /s3:PutObject/],
    [answer(403, "UnknownError"), "STORE_UNAVAILABLE", false, "none", /s3:PutObject/],
    [answer(403, "InvalidAccessKeyId"), "STORE_UNAVAILABLE", false, "none", /access key/],
    [answer(403, "SignatureDoesNotMatch"), "STORE_UNAVAILABLE", false, "none", /secret key/],
    [answer(400, "ExpiredToken"), "STORE_UNAVAILABLE", true, "none", /renew/],
    [answer(403, "RequestTimeTooSkewed"), "STORE_UNAVAILABLE", true, "none", /clock/],
    [answer(301, "UnknownError"), "STORE_UNAVAILABLE", false, "none", /region/],
    [answer(403, "QuotaExceeded"), "STORE_FULL", true, "none", /quota/],
    [answer(501, "NotImplemented"), "STORE_UNAVAILABLE", false, "none", /If-None-Match/],
    [
      answer(undefined, "CredentialsProviderError"),
      "STORE_UNAVAILABLE",
      true,
      "none",
      /AWS_ACCESS/,
    ],
    [new Error("Region is missing"), "STORE_UNAVAILABLE", false, "none", /AWS_REGION/],
    [
      answer(undefined, "Error", { code: "ECONNREFUSED" }),
      "STORE_UNAVAILABLE",
      true,
      "none",
      /run/,
    ],
    [
      answer(undefined, "Error", { code: "ECONNRESET" }),
      "STORE_UNAVAILABLE",
      true,
      "unknown",
      /ECONN/,
    ],
    [new Error("socket hang up"), "STORE_UNAVAILABLE", true, "unknown", /socket hang up/],
    ["thrown text", "STORE_UNAVAILABLE", true, "unknown", /thrown text/],
  ];
  for (const [thrown, code, retriable, outcome, mention] of cases) {
    const { name, $metadata } = thrown as ReturnType<typeof answer>;
    it(`says what ${name} ${$metadata?.httpStatusCode ?? String(thrown)} of a put means`, () => {
      const error = s3Error(thrown, put);
      const seen = { code: error.code, retriable: error.retriable, outcome: error.outcome };
      assert.deepEqual(seen, { code, retriable, outcome }, error.message);
      assert.match(error.message, mention);
      assert.equal(s3Error(thrown, get).outcome, "none");
    });
  }

  it("never repeats the service's own text, which can quote a signature", () => {
    for (const [thrown] of cases) {
      if (!(thrown instanceof Error) || !("$metadata" in thrown)) continue;
      assert.doesNotMatch(s3Error(thrown, put).message, /AKIAKEY|Signature=/);
    }
  });

  it("asks for the pause that the service asked for", () => {
    const $response = { headers: { "retry-after": "7" } };
    assert.equal(s3Error(answer(503, "SlowDown", { $response }), put).retryAfterMs, 7_000);
  });

  it("is an absent object only where a key was asked for", () => {
    assert.equal(s3Error(answer(404, "NoSuchKey"), get).code, "OBJECT_NOT_FOUND");
    assert.equal(s3Error(answer(404, "NotFound"), get).code, "OBJECT_NOT_FOUND");
    const list = { ...get, key: undefined, doing: "list" };
    assert.equal(s3Error(answer(404, "NoSuchKey"), list).code, "STORE_UNAVAILABLE");
  });
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { parseS3Url } from "../../../src/storage/s3-url.ts";

describe("the URL of an S3 store", () => {
  it("names bucket, prefix, endpoint, region and the style of addresses", () => {
    assert.deepEqual(
      parseS3Url(
        "s3://my-bucket/house/one?endpoint=http%3A%2F%2F127.0.0.1%3A9000&region=eu-west-1&pathStyle=false",
      ),
      {
        bucket: "my-bucket",
        prefix: "house/one",
        endpoint: "http://127.0.0.1:9000",
        region: "eu-west-1",
        pathStyle: false,
      },
    );
  });

  it("needs only the bucket: the rest is what the AWS SDK finds", () => {
    const all = { bucket: "b12", endpoint: undefined, region: undefined, pathStyle: false };
    assert.deepEqual(parseS3Url("s3://b12"), { ...all, prefix: "" });
    assert.deepEqual(parseS3Url("s3://b12/"), { ...all, prefix: "" });
    assert.deepEqual(parseS3Url("s3://b12/p/"), { ...all, prefix: "p" });
    assert.deepEqual(parseS3Url("S3://b12/p"), { ...all, prefix: "p" });
  });

  it("takes an endpoint as people type it, with path-style addresses unless told otherwise", () => {
    const url = parseS3Url("s3://b12/p?endpoint=https://minio.example:9000/");
    assert.equal(url.endpoint, "https://minio.example:9000");
    assert.equal(url.pathStyle, true);
  });

  const wrong: readonly (readonly [string, string])[] = [
    ["", "no such URL"],
    ["s3:/b12", "no such URL"],
    ["https://b12/p", "no such URL"],
    ["s3://", "no such URL|bucket"],
    ["s3://b", "bucket"],
    ["s3://My_Bucket/p", "bucket"],
    ["s3://b12:9000/p", "endpoint="],
    ["s3://b12/p#x", "fragment"],
    ["s3://b12/../p/./.x", "prefix"],
    ["s3://b12/a//b", "prefix"],
    ["s3://b12/a%20b", "prefix"],
    ["s3://b12/%E0%A4%A", "% sequence"],
    [`s3://b12/${"a".repeat(121)}`, "prefix"],
    ["s3://b12?regoin=eu", 'parameter "regoin"'],
    ["s3://b12?region=a&region=b", "more than once"],
    ["s3://b12?region=Europe!", "region"],
    ["s3://b12?pathStyle=yes", "true or false"],
    ["s3://b12?endpoint=minio:9000", "http"],
    ["s3://b12?endpoint=http://h/?x=1", "query"],
  ];
  for (const [url, mention] of wrong) {
    it(`refuses ${url === "" ? "nothing at all" : url.slice(0, 50)} and says what was expected`, () => {
      assert.throws(
        () => parseS3Url(url),
        (error) => {
          assert.ok(StreamHouseError.is(error), String(error));
          assert.equal(error.code, "INVALID_ARGUMENT");
          assert.equal(error.field, "store");
          assert.match(error.message, new RegExp(mention));
          assert.ok(error.message.includes("s3://BUCKET/PREFIX"), error.message);
          return true;
        },
      );
    });
  }

  it("refuses credentials, and never repeats them", () => {
    const urls = [
      "s3://AKIAKEY:hunter2secret@b12/p",
      "s3://b12/p?endpoint=http://AKIAKEY:hunter2secret@h:1",
    ];
    for (const url of urls) {
      assert.throws(
        () => parseS3Url(url),
        (error) => {
          assert.ok(StreamHouseError.is(error) && /credentials/.test(error.message));
          assert.doesNotMatch(`${error.message} ${error.stack}`, /hunter2secret|AKIAKEY/);
          return true;
        },
      );
    }
  });

  it("throws nothing but INVALID_ARGUMENT, whatever it is given", () => {
    const text = fc.oneof(
      fc.string(),
      fc.webUrl(),
      fc.string().map((it) => `s3://b12/${it}`),
    );
    fc.assert(
      fc.property(text, (it) => {
        try {
          const { prefix } = parseS3Url(it);
          assert.ok(!prefix.startsWith("/") && !prefix.endsWith("/") && !prefix.includes(".."));
        } catch (error) {
          assert.ok(StreamHouseError.is(error) && error.code === "INVALID_ARGUMENT", String(error));
        }
      }),
    );
  });
});

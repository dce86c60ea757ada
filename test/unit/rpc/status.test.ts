import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  type ErrorCode,
  type ErrorKind,
  StreamHouseError,
  type StreamHouseErrorInit,
} from "../../../src/core/errors.ts";
import { ErrorDetail, RpcStatus } from "../../../src/rpc/gen/streamhouse/v1/error.ts";
import {
  fromErrorDetail,
  fromWireStatus,
  grpcStatus,
  grpcStatusName,
  grpcStatusOf,
  toErrorDetail,
  toWireStatus,
} from "../../../src/rpc/status.ts";

const at = { method: "S/M", address: "h:1" };

describe("errors on the wire", () => {
  it("come back as they were, whatever they say", () => {
    const init = fc.record({
      code: fc.constantFrom<ErrorCode>(
        "NOT_LEASE_HOLDER",
        "CORRUPT_BATCH",
        "OVERLOADED",
        "INTERNAL",
        "TOPIC_NOT_FOUND",
      ),
      kind: fc.constantFrom<ErrorKind>(
        "invalid",
        "unavailable",
        "fenced",
        "conflict",
        "corrupt",
        "closed",
        "internal",
      ),
      message: fc.string({ unit: "grapheme", maxLength: 100 }),
      retriable: fc.boolean(),
      outcome: fc.constantFrom("none" as const, "unknown" as const),
      retryAfterMs: fc.option(fc.integer({ min: 1, max: 1e6 }), { nil: undefined }),
      field: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
      holderAddress: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(init, (values: StreamHouseErrorInit) => {
        const error = new StreamHouseError(values);
        const { code, message: text, details } = toWireStatus(error);
        const back = fromWireStatus({ code, text, details, ...at });
        for (const key of Object.keys(values) as (keyof StreamHouseError)[]) {
          assert.equal(back[key], error[key], key);
        }
      }),
    );
  });

  it("are laid out as google.rpc.Status, for stock tools", () => {
    const error = new StreamHouseError({
      code: "TOPIC_EXISTS",
      kind: "conflict",
      message: "there",
    });
    const wire = toWireStatus(error);
    const status = RpcStatus.decode(wire.details);
    assert.equal(wire.code, grpcStatus.ALREADY_EXISTS);
    assert.equal(status.code, wire.code);
    assert.equal(status.message, "there");
    assert.equal(status.details[0]?.typeUrl, "type.googleapis.com/streamhouse.v1.ErrorDetail");
    const detail = ErrorDetail.decode(status.details[0]?.value ?? new Uint8Array());
    assert.equal(detail.code, "TOPIC_EXISTS");
  });

  it("tell damaged stored bytes from damaged input", () => {
    const of = (kind: ErrorKind) =>
      grpcStatusOf(new StreamHouseError({ code: "CORRUPT_BATCH", kind, message: "" }));
    assert.equal(of("invalid"), grpcStatus.INVALID_ARGUMENT);
    assert.equal(of("corrupt"), grpcStatus.DATA_LOSS);
  });

  it("are short and well-formed, so that trailers hold them", () => {
    const message = `${"x".repeat(5_000)}\ud800`;
    const wire = toWireStatus(
      new StreamHouseError({ code: "INTERNAL", kind: "internal", message }),
    );
    assert.ok(wire.message.length <= 600);
    const lone = toErrorDetail(
      new StreamHouseError({ code: "INTERNAL", kind: "internal", message: "a\ud800b" }),
    );
    assert.equal(encodeURI(lone.message), "a%EF%BF%BDb");
  });

  it("never bring a code that this version does not know", () => {
    const detail = ErrorDetail.fromPartial({
      code: "FROM_THE_FUTURE",
      kind: "fenced",
      message: "m",
    });
    const error = fromErrorDetail(detail);
    assert.equal(error.code, "INTERNAL");
    assert.equal(error.kind, "fenced");
    assert.match(error.message, /FROM_THE_FUTURE/);
    const odd = fromErrorDetail(ErrorDetail.fromPartial({ code: "toString", kind: "?" }));
    assert.equal(odd.code, "INTERNAL");
    assert.equal(odd.kind, "internal");
  });
});

describe("a status without details", () => {
  const bare = (code: number, text: string) => fromWireStatus({ code, text, ...at });

  it("without a connection says that nothing was applied, and names the address", () => {
    for (const error of [
      bare(14, "No connection established. Last error: ECONNREFUSED"),
      bare(14, "Name resolution failed for target dns:nowhere:1"),
      bare(4, "Deadline exceeded after 1.000s,Waiting for LB pick"),
    ]) {
      assert.equal(error.code, "AGENT_UNREACHABLE");
      assert.equal(error.outcome, "none");
      assert.equal(error.retriable, true);
      assert.match(error.message, /h:1/);
    }
  });

  it("from a connection that broke leaves the outcome open", () => {
    assert.equal(bare(14, "Connection dropped").outcome, "unknown");
    for (const [code, text] of [
      [13, "Received RST_STREAM with code 0 (Call ended without gRPC status)"],
      [1, "Call cancelled"],
    ] as const) {
      assert.equal(bare(code, text).code, "AGENT_UNREACHABLE");
      assert.equal(bare(code, text).outcome, "unknown");
    }
    const late = bare(4, "Deadline exceeded after 1.000s,remote_addr=127.0.0.1:1");
    assert.equal(late.code, "DEADLINE_EXCEEDED");
    assert.equal(late.outcome, "unknown");
  });

  it("gives each of the library's statuses a code of ours", () => {
    assert.equal(bare(1, "Cancelled on client").code, "ABORTED");
    assert.equal(bare(12, "not implemented").code, "NOT_SUPPORTED");
    assert.equal(bare(8, "Received message larger than max").code, "REQUEST_TOO_LARGE");
    assert.equal(bare(8, "Bandwidth exhausted").code, "OVERLOADED");
    assert.equal(bare(13, "?").code, "INTERNAL");
    assert.equal(bare(77, "?").code, "INTERNAL");
    assert.equal(grpcStatusName(77), "UNKNOWN");
    assert.equal(grpcStatusName(9), "FAILED_PRECONDITION");
  });

  it("is what remains when details are damaged or foreign", () => {
    const damaged = { code: 14, text: "Connection dropped", details: Uint8Array.of(9, 9), ...at };
    assert.equal(fromWireStatus(damaged).code, "AGENT_UNREACHABLE");
  });
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CallMetrics } from "../../../src/rpc/call-metrics.ts";
import { produceStreamMethod, unaryMethods } from "../../../src/rpc/methods.ts";
import { grpcStatus } from "../../../src/rpc/status.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { readFamilies } from "../telemetry/read-families.ts";
import { countingTelemetry } from "./fake-agent.ts";

const fetchPath = unaryMethods.fetch.path;

function setup() {
  const telemetry = countingTelemetry();
  const clock = new ManualClock();
  const paths = [fetchPath, produceStreamMethod.path];
  const metrics = new CallMetrics(telemetry, clock, paths);
  /** Series of the whole calls: count and sum by method, status and error. */
  const calls = () => {
    const prefix = "rpc.server.call.duration{rpc.system.name=grpc,";
    return Object.fromEntries(
      Object.entries(readFamilies(telemetry.metrics.collect()))
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, value]) => [name.slice(prefix.length, -1), value]),
    );
  };
  const requests = () =>
    Object.fromEntries(
      Object.entries(readFamilies(telemetry.metrics.collect())).filter(([name]) =>
        name.startsWith("streamhouse.grpc.requests"),
      ),
    );
  return { clock, metrics, calls, requests };
}

describe("the metrics of a gRPC server's calls", () => {
  it("measure a whole call under the convention's name, with error.type only for the server's failures", () => {
    const { clock, metrics, calls } = setup();
    for (const status of [grpcStatus.OK, grpcStatus.NOT_FOUND, grpcStatus.UNAVAILABLE]) {
      const ended = metrics.called(fetchPath);
      clock.advance(250);
      ended(status);
    }
    const method = "rpc.method=streamhouse.v1.ConsumerService/Fetch";
    assert.deepEqual(calls(), {
      [`${method},rpc.response.status_code=OK`]: [1, 0.25],
      [`${method},rpc.response.status_code=NOT_FOUND`]: [1, 0.25],
      [`${method},rpc.response.status_code=UNAVAILABLE,error.type=UNAVAILABLE`]: [1, 0.25],
    });
  });

  it("measure a ProduceStream as one call, and each of its frames as a request", () => {
    const { clock, metrics, calls, requests } = setup();
    const ended = metrics.called(produceStreamMethod.path);
    for (const status of [grpcStatus.OK, grpcStatus.OK, grpcStatus.INVALID_ARGUMENT]) {
      metrics.frame()(status);
    }
    clock.advance(2_000);
    ended(undefined);
    const method = "streamhouse.v1.ProducerService/ProduceStream";
    assert.deepEqual(calls(), {
      [`rpc.method=${method},rpc.response.status_code=CANCELLED`]: [1, 2],
    });
    assert.deepEqual(requests(), {
      [`streamhouse.grpc.requests{method=${method},status=OK}`]: 2,
      [`streamhouse.grpc.requests{method=${method},status=INVALID_ARGUMENT}`]: 1,
    });
  });

  it("name every method that the server does not have _OTHER", () => {
    const { metrics, calls, requests } = setup();
    for (let i = 0; i < 1_000; i++) metrics.called(`/attacker.Service/Method${i}`)(12);
    const [name = "", value] = Object.entries(calls())[0] ?? [];
    assert.equal(Object.keys(calls()).length, 1);
    assert.match(name, /^rpc\.method=_OTHER,rpc\.response\.status_code=UNIMPLEMENTED,/);
    assert.deepEqual((value as number[])[0], 1_000);
    assert.deepEqual(requests(), {
      "streamhouse.grpc.requests{method=_OTHER,status=UNIMPLEMENTED}": 1_000,
    });
  });
});

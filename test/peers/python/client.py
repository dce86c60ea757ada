"""A gRPC client that shares no code with StreamHouse: Debian's grpcio, stubs made by protoc from proto/, and a
RecordBatch written by hand from Kafka's description of the message format. Prints one JSON object with what it saw.

usage: client.py STUBS_FOLDER HOST:PORT
"""

import json
import struct
import sys

import grpc

sys.path.insert(0, sys.argv[1])
from streamhouse.v1 import admin_pb2, admin_pb2_grpc  # noqa: E402
from streamhouse.v1 import consumer_pb2, consumer_pb2_grpc  # noqa: E402
from streamhouse.v1 import error_pb2, producer_pb2, producer_pb2_grpc  # noqa: E402


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(n):
    n = (n << 1) ^ (n >> 63)
    out = bytearray()
    while n > 0x7F:
        out.append((n & 0x7F) | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def nullable(data):
    return varint(-1) if data is None else varint(len(data)) + data


def record_batch(records, timestamp):
    body = b""
    for i, (key, value, headers) in enumerate(records):
        record = b"\x00" + varint(i) + varint(i) + nullable(key) + nullable(value) + varint(len(headers))
        for name, header in headers:
            record += varint(len(name)) + name.encode() + nullable(header)
        body += varint(len(record)) + record
    last = len(records) - 1
    after_crc = struct.pack(">hiqqqhii", 0, last, timestamp, timestamp + last, -1, -1, -1, len(records)) + body
    return struct.pack(">qiibI", 0, 9 + len(after_crc), -1, 2, crc32c(after_crc)) + after_crc


def status_of(call):
    """Status name, our code and field from the standard `grpc-status-details-bin` trailer."""
    try:
        call()
        return {"status": "OK"}
    except grpc.RpcError as error:
        seen = {"status": error.code().name, "message": error.details()}
        for name, value in error.trailing_metadata() or ():
            if name == "grpc-status-details-bin":
                status = error_pb2.RpcStatus.FromString(value)
                detail = error_pb2.ErrorDetail.FromString(status.details[0].value)
                seen.update(code=detail.code, field=detail.field, kind=detail.kind)
        return seen


def main():
    size = 32 * 1024 * 1024
    channel = grpc.insecure_channel(
        sys.argv[2],
        options=[("grpc.max_send_message_length", size), ("grpc.max_receive_message_length", size)],
    )
    grpc.channel_ready_future(channel).result(timeout=20)
    admin = admin_pb2_grpc.AdminServiceStub(channel)
    producer = producer_pb2_grpc.ProducerServiceStub(channel)
    consumer = consumer_pb2_grpc.ConsumerServiceStub(channel)

    topic = admin.CreateTopic(admin_pb2.CreateTopicRequest(name="from-python", partitions=2), timeout=10).topic
    described = admin.DescribeTopic(admin_pb2.DescribeTopicRequest(name="from-python"), timeout=10)
    timestamp = described.topic.created_at_ms
    batch = record_batch(
        [
            (b"k1", b"v1", [("trace", b"abc"), ("none", None)]),
            (None, b"", []),
            (b"", None, []),
            ("schlüssel".encode(), bytes(range(256)), []),
        ],
        timestamp,
    )

    def produce(records, name="from-python", partition=1, timeout=10):
        request = producer_pb2.ProduceRequest(
            acks=producer_pb2.ACKS_DURABLE,
            batches=[producer_pb2.Batch(topic=name, partition=partition, records=records)],
        )
        return producer.Produce(request, timeout=timeout)

    first = produce(batch).results[0]
    second = produce(batch).results[0]
    fetched = consumer.Fetch(
        consumer_pb2.FetchRequest(
            partitions=[consumer_pb2.FetchPartition(topic_id=topic.topic_id, partition=1, offset=0)],
            max_wait_ms=1000,
        ),
        timeout=10,
    ).partitions[0]
    # All but base offset (0..8) and partition leader epoch (12..16), which the agent writes.
    same = [b.records[8:12] == batch[8:12] and b.records[16:] == batch[16:] for b in fetched.batches]

    bad_crc = bytearray(batch)
    bad_crc[-1] ^= 1
    oversize = record_batch([(None, bytes(1_200_000), [])], timestamp)
    beyond_message = record_batch([(None, bytes(9_000_000), [])], timestamp)
    magic = bytearray(batch)
    magic[16] = 1
    lz4 = bytearray(batch)
    lz4[22] = 3
    lz4[17:21] = struct.pack(">I", crc32c(bytes(lz4[21:])))

    print(
        json.dumps(
            {
                "offsets": [first.base_offset, second.base_offset],
                "high_watermark": fetched.high_watermark,
                "base_offsets": [struct.unpack(">q", b.records[:8])[0] for b in fetched.batches],
                "same": same,
                "partitions": len(described.partitions),
                "unknown_topic": status_of(lambda: produce(batch, name="no-such-topic")),
                "bad_crc": status_of(lambda: produce(bytes(bad_crc))),
                "truncated": status_of(lambda: produce(batch[:-5])),
                "oversize": status_of(lambda: produce(oversize)),
                "beyond_message": status_of(lambda: produce(beyond_message)),
                "wrong_partition": status_of(lambda: produce(batch, partition=2)),
                "magic": status_of(lambda: produce(bytes(magic))),
                "lz4": status_of(lambda: produce(bytes(lz4))),
                "exists": status_of(
                    lambda: admin.CreateTopic(admin_pb2.CreateTopicRequest(name="from-python"), timeout=10)
                ),
                "after": produce(batch).results[0].base_offset,
            }
        )
    )


main()

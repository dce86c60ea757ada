"""A gRPC client of another library over TLS, with an API key and a client certificate. Prints one JSON object with what it saw.

usage: secure.py STUBS_FOLDER HOST:PORT FOLDER KEY   (FOLDER has ca.pem, other.pem, client.pem, client.key)
"""

import json
import pathlib
import sys

import grpc

sys.path.insert(0, sys.argv[1])
from streamhouse.v1 import admin_pb2, admin_pb2_grpc  # noqa: E402

address, folder, key = sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4]


def read(name):
    return (folder / name).read_bytes()


def ask(ca, token=None, mutual=True):
    pair = (read("client.key"), read("client.pem")) if mutual else (None, None)
    transport = grpc.ssl_channel_credentials(read(ca), *pair)
    if token is not None:
        transport = grpc.composite_channel_credentials(transport, grpc.access_token_call_credentials(token))
    with grpc.secure_channel(address, transport) as channel:
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        try:
            return f"OK {len(admin.ListTopics(admin_pb2.ListTopicsRequest(), timeout=20).topics)}"
        except grpc.RpcError as error:
            return error.code().name


print(
    json.dumps(
        {
            "right": ask("ca.pem", key),
            "no_key": ask("ca.pem"),
            "wrong_key": ask("ca.pem", key[:-1] + ("b" if key.endswith("a") else "a")),
            "wrong_ca": ask("other.pem", key),
            "no_certificate": ask("ca.pem", key, mutual=False),
        }
    )
)

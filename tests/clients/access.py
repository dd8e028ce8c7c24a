"""Every method that reflection tells of: without a credential, with a wrong scope, and as another tenant."""

import sys

import grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from google.protobuf import descriptor_pb2

address, everything, no_predict, no_see, no_write, no_read, other = sys.argv[1:]
channel = grpc.insecure_channel(address)
C = grpc.StatusCode

# Method -> a token of the tenant that lacks what it needs (None: any credential does), and whether another tenant's caller is told
# that there is no such model. Written down by hand: a method that is not here fails the test.
INFERENCE = {
    "ServerLive": "open",
    "ServerReady": "open",
    "ServerMetadata": (None, False),
    "ModelReady": (no_see, True),
    "ModelMetadata": (no_see, True),
    "ModelConfig": (no_see, True),
    "ModelInfer": (no_predict, True),
    "ModelStreamInfer": (no_predict, True),
    "ModelStatistics": (no_read, True),
    "RepositoryIndex": (no_read, False),
    "RepositoryModelLoad": (no_write, True),
    "RepositoryModelUnload": (no_write, True),
}
METHODS = {f"inference.GRPCInferenceService/{name}": need for name, need in INFERENCE.items()}
for method in ["Check", "List", "Watch"]:
    METHODS[f"grpc.health.v1.Health/{method}"] = "open"
for version in ["v1", "v1alpha"]:
    METHODS[f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"] = (None, False)


def bearing(token):
    return [("authorization", f"Bearer {token}")] if token else []


def reflected():
    """The methods of all services, with whether they stream."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)

    def ask(**question):
        request = reflection_pb2.ServerReflectionRequest(**question)
        return next(iter(stub.ServerReflectionInfo(iter([request]), metadata=bearing(everything))))

    found = {}
    for service in ask(list_services="").list_services_response.service:
        files = ask(file_containing_symbol=service.name).file_descriptor_response.file_descriptor_proto
        for file in map(descriptor_pb2.FileDescriptorProto.FromString, files):
            for described in file.service:
                if f"{file.package}.{described.name}" == service.name:
                    for method in described.method:
                        found[f"{service.name}/{method.name}"] = method.client_streaming or method.server_streaming
    return found


def named(name):
    """Messages here have the model's name as the first field, or for the repository as the second."""
    text = b"add_one"
    tag = b"\x12" if name.startswith("RepositoryModel") else b"\x0a"
    return tag + bytes([len(text)]) + text


def call(method, streams, token):
    """The status, and the first answer's bytes."""
    message = named(method.split("/")[1]) if method.startswith("inference.") and "Index" not in method and "Server" not in method else b""
    try:
        if streams:
            answers = channel.stream_stream(f"/{method}")(iter([message]), metadata=bearing(token), timeout=10)
            return C.OK, next(iter(answers), b"")
        return C.OK, channel.unary_unary(f"/{method}")(message, metadata=bearing(token), timeout=10)
    except grpc.RpcError as error:
        return error.code(), error.details().encode()


methods = reflected()
assert len(methods) >= 15, methods
assert set(methods) <= set(METHODS), set(methods) - set(METHODS)
for method, need in METHODS.items():
    # Those that reflection does not tell of are there for all who know of them.
    streams = methods.get(method, "Reflection" in method)
    status, said = call(method, streams, None)
    if need == "open":
        assert status != C.UNAUTHENTICATED, (method, status)
        continue
    assert status == C.UNAUTHENTICATED, (method, status, said)
    lacking, not_found = need
    if lacking:
        status, said = call(method, streams, lacking)
        assert status == C.PERMISSION_DENIED and b"scope" in said, (method, status, said)
    status, said = call(method, streams, other)
    if not_found and streams:
        # An error of one request does not end a stream.
        assert status == C.OK and b"there is no model" in said, (method, status, said)
    elif not_found:
        assert status == C.NOT_FOUND, (method, status, said)
    else:
        assert status in (C.OK, C.INVALID_ARGUMENT) and b"add_one" not in said, (method, status, said)
status, said = call("inference.GRPCInferenceService/Unknown", False, None)
assert status == C.UNAUTHENTICATED, (status, said)
status, said = call("inference.GRPCInferenceService/Unknown", False, everything)
assert status == C.UNIMPLEMENTED, (status, said)
for metadata in [[("x-api-key", everything)], [("authorization", f"bearer {everything}")]]:
    channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")(b"", metadata=metadata)
print("access.py: ok")

"""tritonclient over gRPC: single calls and a stream. usage: triton_grpc.py HOST:PORT"""

import queue
import sys
import time

import grpc
import ml_dtypes
import numpy as np
import tritonclient.grpc as triton
from common import IDENTITIES, VALUES, done, refused, same
from tritonclient.utils import InferenceServerException

client = triton.InferenceServerClient(sys.argv[1])


def tensors(inputs):
    made = []
    for name, datatype, values in inputs:
        made.append(triton.InferInput(name, list(values.shape), datatype))
        made[-1].set_data_from_numpy(values)
    return made


def infer(model, inputs, **options):
    return client.infer(model, tensors(inputs), **options)


def server():
    assert client.is_server_live() and client.is_server_ready() and client.get_server_metadata().name == "bulkhead"
    assert client.is_model_ready("add_one") and client.is_model_ready("add_one", "1.0.0")
    refused(lambda: client.is_model_ready("none"), "there is no model `none`")


def model():
    about = client.get_model_metadata("add_one")
    assert about.platform == "onnxruntime_onnx" and list(about.inputs[0].shape) == [-1, 4] and about.inputs[0].datatype == "FP32"
    config = client.get_model_config("batched").config
    assert config.max_batch_size == 8 and list(config.input[0].dims) == [4] and config.dynamic_batching.preferred_batch_size == [4]
    assert config.input[0].data_type == triton.model_config_pb2.TYPE_FP32 if hasattr(triton, "model_config_pb2") else True


def every_datatype():
    bf16 = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    inputs = [(f"in_{'string' if name == 'BYTES' else name.lower()}", name, values) for name, values in VALUES.items()]
    answer = infer("all_types", [*inputs, ("in_bf16", "BF16", bf16)])
    for name, values in VALUES.items():
        same(name, answer.as_numpy(f"out_{'string' if name == 'BYTES' else name.lower()}"), values)
    same("BF16", answer.as_numpy("out_bf16"), bf16)


def calls():
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    answer = infer("add_one", [("x", "FP32", x)], request_id="7", outputs=[triton.InferRequestedOutput("y")], priority=1, timeout=10_000_000)
    same("y", answer.as_numpy("y"), x + 1)
    assert answer.get_response().id == "7" and answer.get_response().model_version == "1.0.0"
    same("zero rows", infer("add_one", [("x", "FP32", x[:0])]).as_numpy("y"), x[:0])
    answers = queue.Queue()
    for _ in range(8):
        client.async_infer("batched", tensors([("x", "FP32", x)]), lambda result, error: answers.put((result, error)))
    for _ in range(8):
        result, error = answers.get(timeout=30)
        assert error is None
        same("async", result.as_numpy("y"), x + 1)
    large = np.zeros((1, 2_000_000), np.float32)
    same("8 MB", infer("identity_f32", [("x", "FP32", large)]).as_numpy("y"), large)
    same("compressed", infer("add_one", [("x", "FP32", x)], compression_algorithm="gzip").as_numpy("y"), x + 1)


def stream():
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for n in range(20):
        x = np.full((1, 4 if n != 7 else 3), n, np.float32)
        client.async_stream_infer("batched", tensors([("x", "FP32", x)]), request_id=str(n), enable_empty_final_response=True)
    for n in range(20):
        result, error = answers.get(timeout=30)
        if n == 7:
            assert "got [1, 3]" in str(error), error
            continue
        assert error is None, error
        assert result.get_response().id == str(n) and result.get_response().parameters["triton_final_response"].bool_param
        same(n, result.as_numpy("y"), np.full((1, 4), n + 1, np.float32))
    for model, datatype, values in IDENTITIES:
        client.async_stream_infer(model, tensors([("x", datatype, values)]))
        result, error = answers.get(timeout=30)
        assert error is None, error
        same(datatype, result.as_numpy("y"), values)
    client.stop_stream()


def statistics():
    before = client.get_inference_statistics("batched").model_stats[0]
    infer("batched", [("x", "FP32", np.ones((2, 4), np.float32))])
    after = client.get_inference_statistics("batched").model_stats[0]
    assert after.inference_count - before.inference_count == 2 and after.execution_count - before.execution_count == 1
    assert len(client.get_inference_statistics().model_stats) > 3


def repository():
    def state():
        return {entry.name: entry.state for entry in client.get_model_repository_index().models}

    assert state()["two_inputs"] == "READY"
    client.unload_model("two_inputs")
    assert state()["two_inputs"] == "UNAVAILABLE" and not client.is_model_ready("two_inputs")
    client.load_model("two_inputs")
    assert client.is_model_ready("two_inputs")


def mistakes():
    one = np.ones((1, 4), np.float32)
    for code, says, call in [
        (grpc.StatusCode.NOT_FOUND, "there is no model `none`", lambda: infer("none", [("x", "FP32", one)])),
        (grpc.StatusCode.NOT_FOUND, "has no version `9.0.0`", lambda: infer("add_one", [("x", "FP32", one)], model_version="9")),
        (grpc.StatusCode.INVALID_ARGUMENT, "takes the shape [-1, 4], got [1, 3]", lambda: infer("add_one", [("x", "FP32", one[:, :3])])),
        (grpc.StatusCode.INVALID_ARGUMENT, "takes FP32, got FP64", lambda: infer("add_one", [("x", "FP64", one.astype(np.float64))])),
        (grpc.StatusCode.INVALID_ARGUMENT, "has no rows", lambda: infer("batched", [("x", "FP32", one[:0])])),
        (grpc.StatusCode.INVALID_ARGUMENT, "out of data bounds", lambda: infer("table", [("at", "INT64", np.array([99]))])),
        (grpc.StatusCode.INVALID_ARGUMENT, "sequences", lambda: infer("add_one", [("x", "FP32", one)], sequence_id=7)),
    ]:
        try:
            call()
            raise AssertionError(f"was not refused: {says}")
        except InferenceServerException as error:
            assert str(code) == error.status() and says in error.message(), error


def deadlines():
    """The client says by itself that its time is up; that the host knew of it, its model shows by being free again."""
    forever = [("n", "INT64", np.array([10**9]))]
    try:
        infer("slow", forever, client_timeout=0.5)
        raise AssertionError("was answered")
    except InferenceServerException as error:
        assert error.status() == str(grpc.StatusCode.DEADLINE_EXCEEDED), error
    call = client.async_infer("slow", tensors(forever), lambda result, error: None)
    time.sleep(0.3)
    call.cancel()
    same("free again", infer("slow", [("n", "INT64", np.array([1]))], client_timeout=10).as_numpy("y"), np.array([1], np.float32))


def transforms():
    about = client.get_model_metadata("iris")
    assert about.inputs[0].name == "body" and about.inputs[0].datatype == "BYTES", about
    record = '{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}'
    answer = infer("iris", [("body", "BYTES", np.array([record], dtype=object))])
    assert b'"label":"setosa"' in answer.as_numpy("answer")[0]


def standard():
    """The health service and reflection that any gRPC tool uses."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    with grpc.insecure_channel(sys.argv[1]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "inference.GRPCInferenceService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == health_pb2.HealthCheckResponse.SERVING
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asked)
        services = {service.name for service in answer.list_services_response.service}
        assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= services, services
        nothing = channel.unary_unary("/inference.GRPCInferenceService/TraceSetting")
        try:
            nothing(b"")
            raise AssertionError("was answered")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error


for check in (server, model, every_datatype, calls, stream, statistics, repository, mistakes, deadlines, transforms, standard):
    check()
client.close()
done()

"""tritonclient over HTTP. usage: triton_http.py HOST:PORT"""

import sys

import ml_dtypes
import numpy as np
import tritonclient.http as triton
from common import IDENTITIES, VALUES, done, refused, same
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

client = triton.InferenceServerClient(sys.argv[1])


def infer(model, inputs, binary=True, **options):
    made = []
    for name, datatype, values in inputs:
        made.append(triton.InferInput(name, list(values.shape), datatype))
        made[-1].set_data_from_numpy(values, binary_data=binary)
    return client.infer(model, made, **options)


def server():
    assert client.is_server_live() and client.is_server_ready()
    about = client.get_server_metadata()
    assert about["name"] == "bulkhead" and "binary_tensor_data" in about["extensions"], about


def model():
    assert client.is_model_ready("add_one") and client.is_model_ready("add_one", "1") and not client.is_model_ready("none")
    about = client.get_model_metadata("add_one")
    assert about["platform"] == "onnxruntime_onnx" and about["versions"] == ["1.0.0"], about
    assert about["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}], about
    config = client.get_model_config("batched")
    assert config["max_batch_size"] == 8 and config["input"][0]["dims"] == [4], config
    assert config["dynamic_batching"]["preferred_batch_size"] == [4], config
    assert client.get_model_config("add_one")["max_batch_size"] == 0


def every_datatype():
    bf16 = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    inputs = [(f"in_{'string' if name == 'BYTES' else name.lower()}", name, values) for name, values in VALUES.items()]
    inputs.append(("in_bf16", "BF16", bf16))
    answer = infer("all_types", inputs)
    for name, values in VALUES.items():
        same(name, answer.as_numpy(f"out_{'string' if name == 'BYTES' else name.lower()}"), values)
    same("BF16", answer.as_numpy("out_bf16"), bf16)
    assert answer.get_response()["model_version"] == "1.0.0"


def json_and_binary():
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    for binary_in in (True, False):
        for binary_out in (True, False):
            wanted = [triton.InferRequestedOutput("y", binary_data=binary_out)]
            answer = infer("add_one", [("x", "FP32", x)], binary_in, outputs=wanted, request_id="7")
            same("y", answer.as_numpy("y"), x + 1)
            assert answer.get_response()["id"] == "7"
    wanted = [triton.InferRequestedOutput("y", binary_data=False)]
    # 64-bit numbers do not go through floating point. FP16 has no JSON with this client.
    for model, datatype, values in IDENTITIES:
        same(datatype, infer(model, [("x", datatype, values)], datatype == "FP16", outputs=wanted).as_numpy("y"), values)
    # Numbers that are none are null.
    odd = np.array([[np.nan, np.inf, -np.inf, 1]], np.float32)
    got = infer("identity_f32", [("x", "FP32", odd)], outputs=wanted).get_response()["outputs"][0]["data"]
    assert got == [None, None, None, 1.0], got


def shapes():
    none = np.zeros((0, 4), np.float32)
    same("zero rows", infer("add_one", [("x", "FP32", none)]).as_numpy("y"), none)
    scalar = [("x", "FP32", np.ones((1, 2), np.float32)), ("s", "FP32", np.array(3, np.float32))]
    same("a scalar", infer("optional_rank0", scalar).as_numpy("y"), np.full((1, 2), 3, np.float32))
    same("left out", infer("default_rank0", scalar[:1]).as_numpy("y"), np.full((1, 2), 2, np.float32))


def compressed():
    x = np.zeros((256, 4), np.float32)
    for algorithm in ("gzip", "deflate"):
        answer = infer("add_one", [("x", "FP32", x)], request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)
        same(algorithm, answer.as_numpy("y"), x + 1)


def statistics():
    before = client.get_inference_statistics("batched")["model_stats"][0]
    infer("batched", [("x", "FP32", np.ones((2, 4), np.float32))])
    after = client.get_inference_statistics("batched")["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 2, (before, after)
    assert after["execution_count"] - before["execution_count"] == 1, (before, after)
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 1
    assert after["last_inference"] >= before["last_inference"] and after["batch_stats"][-1]["batch_size"] == 2
    assert len(client.get_inference_statistics()["model_stats"]) > 3


def repository():
    def state():
        return {entry["name"]: entry["state"] for entry in client.get_model_repository_index()}

    assert state()["add_one"] == "READY"
    client.unload_model("two_inputs")
    assert state()["two_inputs"] == "UNAVAILABLE" and not client.is_model_ready("two_inputs")
    pair = [("a", "FP32", np.ones((1, 2), np.float32)), ("b", "FP32", np.ones((1, 2), np.float32))]
    refused(lambda: infer("two_inputs", pair), "was unloaded")
    client.load_model("two_inputs")
    same("loaded again", infer("two_inputs", pair).as_numpy("sum"), np.full((1, 2), 2, np.float32))
    refused(lambda: client.load_model("add_one", config="{}"), "versions never change")
    refused(lambda: client.load_model("none"), "there is no model `none`")


def mistakes():
    one = np.ones((1, 4), np.float32)
    for says, call in [
        ("there is no model `none`", lambda: infer("none", [("x", "FP32", one)])),
        ("has no version `9.0.0`", lambda: infer("add_one", [("x", "FP32", one)], model_version="9")),
        ("input `x` takes the shape [-1, 4], got [1, 3]", lambda: infer("add_one", [("x", "FP32", one[:, :3])])),
        ("input `x` takes FP32, got FP64", lambda: infer("add_one", [("x", "FP64", one.astype(np.float64))])),
        ("unknown input `z`", lambda: infer("add_one", [("z", "FP32", one)])),
        ("the model has no output `z`", lambda: infer("add_one", [("x", "FP32", one)], outputs=[triton.InferRequestedOutput("z")])),
        ("input `x` has no rows", lambda: infer("batched", [("x", "FP32", one[:0])])),
        ("sequences", lambda: infer("add_one", [("x", "FP32", one)], sequence_id=7)),
    ]:
        refused(call, says, error=InferenceServerException)


def transforms():
    about = client.get_model_metadata("iris")
    assert about["inputs"] == [{"name": "body", "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "application/json, text/csv"}}], about
    record = '{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}'
    answer = infer("iris", [("body", "BYTES", np.array([record], dtype=object))])
    assert b'"label":"setosa"' in answer.as_numpy("answer")[0], answer.as_numpy("answer")
    refused(lambda: infer("iris", [("x", "FP32", np.ones((1, 4), np.float32))]), "one input `body` of type BYTES")


def others():
    """Futures, and headers and query parameters that pass through."""
    x = triton.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(np.ones((1, 4), np.float32))
    answers = [client.async_infer("add_one", [x]) for _ in range(8)]
    assert all((answer.get_result().as_numpy("y") == 2).all() for answer in answers)
    client.infer("add_one", [x], headers={"x-request-id": "mine"}, query_params={"a": "b"}, priority=1, timeout=10_000_000)


assert triton_to_np_dtype("FP32") == np.float32
for check in (server, model, every_datatype, json_and_binary, shapes, compressed, statistics, repository, mistakes, transforms, others):
    check()
client.close()
done()

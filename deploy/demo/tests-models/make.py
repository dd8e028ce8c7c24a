#!/usr/bin/env python3
"""Writes the tiny ONNX files that the host's tests load, beside this script, and checks each.

`MODELS` below says what each is for. Names of symbolic axes: `batch` is the first axis
wherever the model batches. Answers are exact, so that a test needs no tolerance.
`truncated.onnx` is cut from ../iris/model.onnx: make that first.
"""

import os
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper, numpy_helper

HERE = Path(__file__).resolve().parent
node = helper.make_node
OPSET, IR = 17, 8

# Datatype names as the inference protocol spells them.
TYPES = {
    "BOOL": T.BOOL,
    "UINT8": T.UINT8,
    "UINT16": T.UINT16,
    "UINT32": T.UINT32,
    "UINT64": T.UINT64,
    "INT8": T.INT8,
    "INT16": T.INT16,
    "INT32": T.INT32,
    "INT64": T.INT64,
    "FP16": T.FLOAT16,
    "BF16": T.BFLOAT16,
    "FP32": T.FLOAT,
    "FP64": T.DOUBLE,
    "STRING": T.STRING,
}


def value(name, shape, elem=T.FLOAT):
    return helper.make_tensor_value_info(name, elem, shape)


def const(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def filled(out, shape_name, number):
    """A FP32 constant of one number, whose size the file does not pay for."""
    tensor = helper.make_tensor("value", T.FLOAT, [1], [number])
    return node("ConstantOfShape", [shape_name], [out], value=tensor)


def model(name, nodes, inputs, outputs, initializers=(), domains=()):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", OPSET)] + [helper.make_opsetid(d, 1) for d in domains]
    made = helper.make_model(graph, producer_name="bulkhead-tests", ir_version=IR, opset_imports=opsets)
    if not domains and all(tensor.data_location == T.DEFAULT for tensor in initializers):
        onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)


def identity_f32():
    """x FP32 [-1,-1] -> y, unchanged."""
    shape = ["batch", "width"]
    return model("identity_f32", [node("Identity", ["x"], ["y"])], [value("x", shape)], [value("y", shape)])


def add_one():
    """x FP32 [-1,4] -> y = x + 1."""
    return model(
        "add_one",
        [node("Add", ["x", "one"], ["y"])],
        [value("x", ["batch", 4])],
        [value("y", ["batch", 4])],
        [const("one", np.float32(1))],
    )


def all_types(name="all_types", without=()):
    """in_<type> [-1] -> out_<type>, unchanged, for each datatype (names in lower case)."""
    names = [(t.lower(), elem) for t, elem in TYPES.items() if t not in without]
    return model(
        name,
        [node("Identity", ["in_" + t], ["out_" + t]) for t, _ in names],
        [value("in_" + t, ["batch"], elem) for t, elem in names],
        [value("out_" + t, ["batch"], elem) for t, elem in names],
    )


def carried_types():
    """The same for each datatype that WebAssembly's wasi:nn can carry."""
    return all_types("carried_types", without=("UINT16", "INT16", "STRING"))


def string_identity():
    """x STRING [-1] -> y, unchanged."""
    return model(
        "string_identity",
        [node("Identity", ["x"], ["y"])],
        [value("x", ["batch"], T.STRING)],
        [value("y", ["batch"], T.STRING)],
    )


def slow():
    """n INT64 [1] -> y FP32 [1] = n, after n rounds of a 256x256 matrix product.

    The state is a matrix of ones and the weight one of 1/256, so the product is all ones
    again, exactly; each round adds its mean to the count. For n > 0; exact to 2^24.
    """
    body = helper.make_graph(
        [
            node("MatMul", ["state_in", "weight"], ["state_out"]),
            node("ReduceMean", ["state_out"], ["mean"], axes=[0, 1], keepdims=0),
            node("Add", ["count_in", "mean"], ["count_out"]),
            node("Identity", ["go_in"], ["go_out"]),
        ],
        "round",
        [
            value("i", [], T.INT64),
            value("go_in", [], T.BOOL),
            value("state_in", [256, 256]),
            value("count_in", [1]),
        ],
        [value("go_out", [], T.BOOL), value("state_out", [256, 256]), value("count_out", [1])],
    )
    return model(
        "slow",
        [
            filled("weight", "square", 1 / 256),
            filled("ones", "square", 1.0),
            node("Reshape", ["n", "scalar"], ["rounds"]),
            node("Loop", ["rounds", "go", "ones", "zero"], ["last", "y"], body=body),
        ],
        [value("n", [1], T.INT64)],
        [value("y", [1])],
        [
            const("square", np.array([256, 256], np.int64)),
            const("scalar", np.array([], np.int64)),
            const("go", np.array(True)),
            const("zero", np.zeros(1, np.float32)),
        ],
    )


BIG_PAIRS, BIG_INNER = 24, 4096


def big_matmul():
    """x FP32 [-1,256] -> y FP32 [-1,256]: 48 products, by 256x4096 and 4096x256 in turn.

    Every weight is a power of two, chosen so that each pair of products is the mean of a
    row: every y[i][j] is the mean of x[i], exactly for rows of small whole numbers. The
    weights are read from memory once a run whatever the batch, so that a batch of eight
    costs far less than eight runs.
    """
    nodes = [filled("up", "up_shape", 1 / 256), filled("down", "down_shape", 1 / BIG_INNER)]
    last = "x"
    for k in range(BIG_PAIRS):
        out = "y" if k == BIG_PAIRS - 1 else f"x{k}"
        nodes += [node("MatMul", [last, "up"], [f"h{k}"]), node("MatMul", [f"h{k}", "down"], [out])]
        last = out
    return model(
        "big_matmul",
        nodes,
        [value("x", ["batch", 256])],
        [value("y", ["batch", 256])],
        [
            const("up_shape", np.array([256, BIG_INNER], np.int64)),
            const("down_shape", np.array([BIG_INNER, 256], np.int64)),
        ],
    )


def unknown_op():
    """Does not load: its one operator is in a domain that the runtime lacks."""
    return model(
        "unknown_op",
        [node("Frobnicate", ["x"], ["y"], domain="example.unknown")],
        [value("x", ["batch", 4])],
        [value("y", ["batch", 4])],
        domains=["example.unknown"],
    )


def truncated():
    """Does not load: the first half of the iris model's bytes."""
    whole = (HERE.parent / "iris" / "model.onnx").read_bytes()
    return whole[: len(whole) // 2]


def fixed_batch():
    """x FP32 [1,4] -> y FP32 [1,4] = 2x: a batch axis that is fixed at one."""
    return model(
        "fixed_batch",
        [node("Mul", ["x", "two"], ["y"])],
        [value("x", [1, 4])],
        [value("y", [1, 4])],
        [const("two", np.float32(2))],
    )


def two_inputs():
    """a, b FP32 [-1,2] -> sum = a + b."""
    shape = ["batch", 2]
    return model(
        "two_inputs",
        [node("Add", ["a", "b"], ["sum"])],
        [value("a", shape), value("b", shape)],
        [value("sum", shape)],
    )


def optional_rank0():
    """x FP32 [-1,2], s FP32 [] (rank 0) -> y = x * s. Both must be given."""
    return model(
        "optional_rank0",
        [node("Mul", ["x", "s"], ["y"])],
        [value("x", ["batch", 2]), value("s", [])],
        [value("y", ["batch", 2])],
    )


def default_rank0():
    """As optional_rank0, but `s` has a default of 2 and may be left out.

    The runtime lists such an input with the overridable initializers, not the inputs.
    """
    return model(
        "default_rank0",
        [node("Mul", ["x", "s"], ["y"])],
        [value("x", ["batch", 2]), value("s", [])],
        [value("y", ["batch", 2])],
        [const("s", np.float32(2))],
    )


def recurrent():
    """x FP32 [-1,2], state FP32 [2,-1,3], rate INT64 [] -> y [-1,2] = x * rate, next [2,-1,3] = state + 1.

    Rows of the state are along axis 1, as those of recurrent layers are; the rate has none.
    """
    return model(
        "recurrent",
        [
            node("Cast", ["rate"], ["factor"], to=T.FLOAT),
            node("Mul", ["x", "factor"], ["y"]),
            node("Add", ["state", "one"], ["next"]),
        ],
        [value("x", ["batch", 2]), value("state", [2, "batch", 3]), value("rate", [], T.INT64)],
        [value("y", ["batch", 2]), value("next", [2, "batch", 3])],
        [const("one", np.float32(1))],
    )


def token_sums():
    """ids, mask INT64 [-1,-1] -> kept [-1,-1] = ids * mask, total [-1] = its sum over the length."""
    shape = ["batch", "length"]
    return model(
        "token_sums",
        [
            node("Mul", ["ids", "mask"], ["kept"]),
            node("ReduceSum", ["kept", "along"], ["total"], keepdims=0),
        ],
        [value("ids", shape, T.INT64), value("mask", shape, T.INT64)],
        [value("kept", shape, T.INT64), value("total", ["batch"], T.INT64)],
        [const("along", np.array([1], np.int64))],
    )


def centred():
    """x FP32 [-1,2] -> y = x less the mean over the rows: what other rows are in the batch matters."""
    return model(
        "centred",
        [node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1), node("Sub", ["x", "mean"], ["y"])],
        [value("x", ["batch", 2])],
        [value("y", ["batch", 2])],
    )


def table():
    """at INT64 [-1] -> y FP32 [-1] = [10, 20, 30][at]; fails as a whole where one row is out of the table."""
    return model(
        "table",
        [node("Gather", ["values", "at"], ["y"])],
        [value("at", ["batch"], T.INT64)],
        [value("y", ["batch"])],
        [const("values", np.array([10, 20, 30], np.float32))],
    )


def elsewhere():
    """The host refuses it: x FP32 [1,2] -> y = x + w, where w lies in another file, the head of identity_f32.onnx."""
    w = T(name="w", data_type=T.FLOAT, dims=[2], data_location=T.EXTERNAL)
    w.external_data.add(key="location", value="identity_f32.onnx")
    w.external_data.add(key="length", value="8")
    return model("elsewhere", [node("Add", ["x", "w"], ["y"])], [value("x", [1, 2])], [value("y", [1, 2])], [w])


MODELS = [
    identity_f32,
    add_one,
    all_types,
    carried_types,
    string_identity,
    slow,
    big_matmul,
    unknown_op,
    truncated,
    fixed_batch,
    two_inputs,
    optional_rank0,
    default_rank0,
    recurrent,
    token_sums,
    centred,
    table,
    elsewhere,
]


def open_model(name, threads=0):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    path = str(HERE / f"{name}.onnx")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def timed(session, feed, times=5):
    session.run(None, feed)
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        session.run(None, feed)
        best = min(best, time.perf_counter() - started)
    return best * 1000


def check():
    def same(name, feed, want):
        got = open_model(name).run(None, feed)[0]
        assert np.array_equal(got, want), (name, got, want)

    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    same("identity_f32", {"x": x}, x)
    same("add_one", {"x": x}, x + 1)
    same("fixed_batch", {"x": x[:1]}, x[:1] * 2)
    a, b = x[:, :2], x[:, 2:]
    same("two_inputs", {"a": a, "b": b}, a + b)
    same("optional_rank0", {"x": a, "s": np.array(3, np.float32)}, a * 3)
    same("default_rank0", {"x": a}, a * 2)
    same("default_rank0", {"x": a, "s": np.array(3, np.float32)}, a * 3)
    state = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    same("recurrent", {"x": a, "state": state, "rate": np.array(3)}, a * 3)
    ids, mask = np.array([[1, 2, 9], [3, 4, 5]]), np.array([[1, 1, 0], [1, 1, 1]])
    same("token_sums", {"ids": ids, "mask": mask}, ids * mask)
    same("centred", {"x": a}, a - a.mean(0))
    same("table", {"at": np.array([2, 0])}, np.array([30, 10], np.float32))
    words = np.array(["", "a", "h\u00e9llo w\u00f6rld \U0001f980"], dtype=object)
    same("string_identity", {"x": words}, words)

    # The Python binding carries no BF16 out through numpy and no STRING in an OrtValue: ask
    # for all outputs but BF16's here, and for that one in a model of its own.
    session = open_model("all_types")
    assert [i.name for i in session.get_inputs()] == ["in_" + t.lower() for t in TYPES]
    # 0, 1 and -2.5, as the two upper bytes of FP32.
    bf16 = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(
        np.array([0x0000, 0x3F80, 0xC020], np.uint16), T.BFLOAT16
    )
    feed, want = {}, {}
    for name, elem in TYPES.items():
        array = words if name == "STRING" else bf16
        if name not in ("STRING", "BF16"):
            array = np.array([0, 1, 100], helper.tensor_dtype_to_np_dtype(elem))
        feed["in_" + name.lower()] = array
        if name != "BF16":
            want["out_" + name.lower()] = array
    for name, got in zip(want, session.run(list(want), feed)):
        assert got.dtype == want[name].dtype and np.array_equal(got, want[name]), name
    alone = model(
        "bf16",
        [node("Identity", ["x"], ["y"])],
        [value("x", ["batch"], T.BFLOAT16)],
        [value("y", ["batch"], T.BFLOAT16)],
    )
    session = ort.InferenceSession(alone, providers=["CPUExecutionProvider"])
    out = session.run_with_ort_values(["y"], {"x": bf16})[0]
    assert out.data_type() == "tensor(bfloat16)" and out.shape() == [3]

    for name in ("unknown_op", "truncated"):
        try:
            open_model(name)
        except Exception as error:
            print(f"{name}: does not load, as meant: {type(error).__name__}: {str(error).splitlines()[0]}")
        else:
            raise AssertionError(f"{name} loaded")

    for threads in (1, 0):
        how = "one thread" if threads else f"{os.cpu_count()} CPUs"
        session = open_model("slow", threads)
        for n in (0, 1, 1000):
            feed = {"n": np.array([n], np.int64)}
            assert session.run(None, feed)[0].tolist() == [n]
        print(f"slow, {how}: n=1 {timed(session, {'n': np.array([1], np.int64)}):.2f} ms,"
              f" n=1000 {timed(session, feed, 2):.0f} ms")  # fmt: skip
        session = open_model("big_matmul", threads)
        for batch in (1, 8, 32):
            x = np.arange(batch, dtype=np.float32)[:, None].repeat(256, 1)
            x[:, ::2] += 2
            assert np.array_equal(session.run(None, {"x": x})[0], np.broadcast_to(x.mean(1)[:, None], x.shape))
            print(f"big_matmul, {how}: batch {batch} {timed(session, {'x': x}):.2f} ms")

    # A run of `slow` must end when it is told to: the loop's own nodes look at the flag.
    session, options = open_model("slow", 1), ort.RunOptions()
    threading.Timer(0.2, lambda: setattr(options, "terminate", True)).start()
    started = time.perf_counter()
    try:
        session.run(None, {"n": np.array([100_000], np.int64)}, options)
        raise AssertionError("slow was not stopped")
    except AssertionError:
        raise
    except Exception as error:
        print(f"slow, stopped after {time.perf_counter() - started:.2f} s: {str(error).splitlines()[0]}")


def main():
    for make in MODELS:
        (HERE / f"{make.__name__}.onnx").write_bytes(make())
    check()
    for make in MODELS:
        size = (HERE / f"{make.__name__}.onnx").stat().st_size
        print(f"{make.__name__}.onnx {size} bytes")


if __name__ == "__main__":
    main()

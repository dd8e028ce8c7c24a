#!/usr/bin/env python3
"""Trains the small model of the cascade demo and writes it beside this script.

  model.onnx  image FP32 [-1,1,28,28] -> logits FP32 [-1,10], as the model of ../digits

It is a logistic regression on the same images, with the same part held out: a twentieth of
the work, and wrong a few times more often. Where it is not sure, the cascade asks the other.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "digits"))
import train as digits


def export(classifier):
    node = helper.make_node
    weights = {"w": classifier.coef_.astype(np.float32), "b": classifier.intercept_.astype(np.float32)}
    graph = helper.make_graph(
        [node("Flatten", ["image"], ["f"], axis=1), node("Gemm", ["f", "w", "b"], ["logits"], transB=1)],
        "digits-small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(np.ascontiguousarray(w), k) for k, w in weights.items()],
    )
    model = helper.make_model(
        graph, producer_name="bulkhead-demo", ir_version=8, opset_imports=[helper.make_opsetid("", 17)]
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def main():
    images, labels = digits.load()
    x = digits.normalise(images)
    train_at, test_at = train_test_split(
        np.arange(len(labels)), test_size=digits.HELD_OUT, random_state=digits.SEED, stratify=labels
    )
    classifier = LogisticRegression(C=0.005, max_iter=2000).fit(x[train_at].reshape(len(train_at), -1), labels[train_at])
    (HERE / "model.onnx").write_bytes(export(classifier))

    # From here on only the written files count, as a runtime reads them.
    def run(path):
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(["logits"], {"image": x[test_at]})[0]

    small, big = run(HERE / "model.onnx"), run(HERE.parent / "digits" / "model.onnx")
    truth = labels[test_at]
    print(f"held-out accuracy: small {np.mean(small.argmax(1) == truth):.4f}, big {np.mean(big.argmax(1) == truth):.4f}")
    for sure in (0.5, 0.7, 0.8, 0.9, 0.95):
        asks = softmax(small).max(1) < sure
        answer = np.where(asks, big.argmax(1), small.argmax(1))
        print(f"sure from {sure}: {asks.mean():.0%} ask the big one, accuracy {np.mean(answer == truth):.4f}")


if __name__ == "__main__":
    main()

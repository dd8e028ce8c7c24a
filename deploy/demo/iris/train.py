#!/usr/bin/env python3
"""Trains the iris demo model and writes it beside this script.

  model.onnx         features FP32 [-1,4] -> label INT64 [-1], probabilities FP32 [-1,3]
  model-zipmap.onnx  the same classifier; `probabilities` is a sequence of maps
                     (INT64 class -> FP32), as skl2onnx writes it by default
  expected.json      ten held-out rows with scikit-learn's own answers: a test oracle

The classifier is fitted on four fifths of load_iris(); the held-out fifth gives the
accuracy. The solver is deterministic, and so are the files for pinned package versions.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
LABELS = ["setosa", "versicolor", "virginica"]
OPSET = {"": 17, "ai.onnx.ml": 1}


def rename_output(graph, old, new):
    """Renames one graph output, and the node output that feeds it."""
    for value in graph.output:
        if value.name == old:
            value.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new


def export(clf, zipmap):
    model = to_onnx(
        clf,
        initial_types=[("features", FloatTensorType([None, 4]))],
        options={id(clf): {"zipmap": zipmap}},
        target_opset=OPSET,
        name="iris",
    )
    graph = model.graph
    if zipmap:
        # The zipmap converter names its inner tensors `label` and `probabilities`;
        # move those aside before giving the outputs these names.
        for name in ("label", "probabilities"):
            rename_output(graph, name, name + "_tensor")
        rename_output(graph, "output_label", "label")
        rename_output(graph, "output_probability", "probabilities")
    for value in list(graph.input) + list(graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.metadata_props[:]
    # skl2onnx takes the opsets from a set, whose order differs from run to run.
    opsets = sorted(((o.domain, o.version) for o in model.opset_import))
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(d, v) for d, v in opsets)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def main():
    data = load_iris()
    assert list(data.target_names) == LABELS
    x_train, x_test, y_train, y_test = train_test_split(
        data.data, data.target, test_size=0.2, random_state=7, stratify=data.target
    )
    clf = LogisticRegression(max_iter=1000).fit(x_train, y_train)
    accuracy = clf.score(x_test, y_test)

    (HERE / "model.onnx").write_bytes(export(clf, zipmap=False))
    (HERE / "model-zipmap.onnx").write_bytes(export(clf, zipmap=True))

    rows = x_test[:10]
    probabilities = clf.predict_proba(rows)
    expected = {
        "columns": COLUMNS,
        "labels": LABELS,
        "heldout_accuracy": round(accuracy, 4),
        # scikit-learn answers in float64 and the model in float32.
        "tolerance": 1e-5,
        "rows": [
            {
                "features": dict(zip(COLUMNS, map(float, row))),
                "label": int(label),
                "probabilities": [round(float(p), 9) for p in p_row],
            }
            for row, label, p_row in zip(rows, clf.predict(rows), probabilities)
        ],
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")

    # What was written must answer as scikit-learn does, on every row there is.
    x = data.data.astype(np.float32)
    want_label, want_p = clf.predict(data.data), clf.predict_proba(data.data)
    for name in ("model.onnx", "model-zipmap.onnx"):
        session = ort.InferenceSession(str(HERE / name), providers=["CPUExecutionProvider"])
        label, p = session.run(["label", "probabilities"], {"features": x})
        if name == "model-zipmap.onnx":
            p = np.array([[row[k] for k in range(3)] for row in p])
        assert (label == want_label).all(), name
        assert np.abs(p - want_p).max() < 1e-5, name
        for value in session.get_inputs() + session.get_outputs():
            print(name, value.name, value.type, value.shape)
    print(f"held-out accuracy {accuracy:.4f} ({len(y_test)} rows)")


if __name__ == "__main__":
    main()

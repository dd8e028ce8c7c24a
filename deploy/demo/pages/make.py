#!/usr/bin/env python3
"""Writes the detector of the demo that reads pages, and two pages, beside this script.

  model.onnx     image FP32 [1,1,height,width] -> boxes FP32 [n,4], scores FP32 [n]
  samples/N.png  handwritten digits, strewn over 200x200 pixels
  expected.json  the digits of each page with their boxes, in reading order

The detector finds ink; nothing of it is trained. The image is -1 (background) to 1. Its one
kernel likes ink within 28x28 pixels, most in the middle, and dislikes it just around them:
each digit becomes a hill, whose top is the middle of its box. Boxes are left, top, right,
bottom, in pixels; a score is the hill's height.

The digits on the pages are held-out ones of ../digits, whose model reads the boxes.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

HERE = Path(__file__).resolve().parent
SIDE, BOX = 200, 28
KERNEL, SIGMA, RING = 37, 12.0, 4
HILL = 29  # a top is the highest point of so many pixels each way
APART = 44  # pixels between the middles of two digits, at least
SCORE = 0.05


def detector():
    at = np.abs(np.arange(KERNEL) - KERNEL // 2)
    square = lambda half: (at[:, None] <= half) & (at[None] <= half)
    bell = np.exp(-(at**2) / (2 * SIGMA**2))
    inside = np.where(square(BOX // 2), np.outer(bell, bell), 0)
    ring = square(BOX // 2 + RING) & ~square(BOX // 2)
    kernel = ((inside - ring) / inside.sum()).astype(np.float32)[None, None]
    constants = {
        "kernel": kernel,
        "half": np.float32([0.5]),
        "least": np.float32([SCORE]),
        "axes": np.int64([0]),
        "first": np.int64([2]),
        "last": np.int64([4]),
        "swap": np.int64([1, 0, 1, 0]),
        "corners": np.float32([-BOX / 2, -BOX / 2, BOX / 2, BOX / 2]),
    }
    node, side = helper.make_node, KERNEL // 2
    nodes = [
        # -1..1 to 0..1, where the padding's zero is background.
        node("Mul", ["image", "half"], ["halved"]),
        node("Add", ["halved", "half"], ["ink"]),
        node("Conv", ["ink", "kernel"], ["hills"], kernel_shape=[KERNEL, KERNEL], pads=[side] * 4),
        node("MaxPool", ["hills"], ["highest"], kernel_shape=[HILL] * 2, pads=[HILL // 2] * 4, strides=[1, 1]),
        node("Equal", ["hills", "highest"], ["is_top"]),
        node("Greater", ["hills", "least"], ["is_ink"]),
        node("And", ["is_top", "is_ink"], ["found"]),
        node("NonZero", ["found"], ["places"]),  # [4, n]: batch, channel, y, x
        node("Transpose", ["places"], ["places_t"], perm=[1, 0]),
        node("GatherND", ["hills", "places_t"], ["scores"]),
        node("Slice", ["places", "first", "last", "axes"], ["yx"]),
        node("Cast", ["yx"], ["yx_f"], to=TensorProto.FLOAT),
        node("Gather", ["yx_f", "swap"], ["xyxy"], axis=0),
        node("Transpose", ["xyxy"], ["middles"], perm=[1, 0]),
        node("Add", ["middles", "corners"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pages-detector",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, "height", "width"])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, producer_name="bulkhead-demo", ir_version=8, opset_imports=[helper.make_opsetid("", 17)]
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def page(images, labels, rng, count):
    """Strews digits over a page; gives it with each digit's box."""
    canvas, middles, digits = np.zeros((SIDE, SIDE), np.uint8), [], []
    while len(middles) < count:
        middle = rng.integers(BOX // 2 + 2, SIDE - BOX // 2 - 2, size=2)
        if all(np.hypot(*(middle - other)) >= APART for other in middles):
            middles.append(middle)
    for (y, x), at in zip(middles, rng.choice(len(labels), count, replace=False)):
        top, left = y - BOX // 2, x - BOX // 2
        place = canvas[top : top + BOX, left : left + BOX]
        np.maximum(place, images[at], out=place)
        digits.append({"label": str(labels[at]), "box": [int(left), int(top), int(left) + BOX, int(top) + BOX]})
    return canvas, sorted(digits, key=lambda digit: (digit["box"][1], digit["box"][0]))


def crop(image, box):
    """28x28 pixels, background where the page ends."""
    left, top = (int(round(value)) for value in box[:2])
    padded = np.pad(image, BOX, constant_values=-1.0)
    return padded[top + BOX : top + 2 * BOX, left + BOX : left + 2 * BOX]


def main():
    (HERE / "model.onnx").write_bytes(detector())
    about = json.loads((HERE.parent / "digits" / "heldout.json").read_text())
    blob = np.frombuffer((HERE.parent / "digits" / "heldout.bin").read_bytes(), np.uint8)
    images = blob[: about["labels_offset"]].reshape(-1, BOX, BOX)
    labels = blob[about["labels_offset"] :]
    find = ort.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
    read = ort.InferenceSession(str(HERE.parent / "digits" / "model.onnx"), providers=["CPUExecutionProvider"])

    def look(canvas):
        x = (canvas.astype(np.float32) / 255 - 0.5) / 0.5
        boxes, scores = find.run(["boxes", "scores"], {"image": x[None, None]})
        crops = np.stack([crop(x, box) for box in boxes])[:, None] if len(boxes) else np.zeros((0, 1, BOX, BOX), np.float32)
        return boxes, scores, read.run(["logits"], {"image": crops})[0].argmax(1) if len(boxes) else []

    rng = np.random.default_rng(7)
    found = right = digits = 0
    for _ in range(100):
        canvas, truth = page(images, labels, rng, int(rng.integers(3, 10)))
        boxes, _, said = look(canvas)
        digits += len(truth)
        for digit in truth:
            near = [i for i, box in enumerate(boxes) if np.abs(box - digit["box"]).max() <= 6]
            found += len(near) == 1
            right += len(near) == 1 and str(said[near[0]]) == digit["label"]
    print(f"100 pages: {found} of {digits} digits found, {right} read right")
    assert right >= 0.95 * digits

    (HERE / "samples").mkdir(exist_ok=True)
    expected = {}
    for name, count in (("1", 8), ("2", 5)):
        while True:
            canvas, truth = page(images, labels, rng, count)
            boxes, _, said = look(canvas)
            order = np.lexsort((boxes[:, 0], boxes[:, 1]))
            if [str(said[i]) for i in order] == [digit["label"] for digit in truth]:
                break
        Image.fromarray(canvas).save(HERE / "samples" / f"{name}.png")
        expected[name] = truth
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

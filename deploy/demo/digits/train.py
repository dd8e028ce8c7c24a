#!/usr/bin/env python3
"""Trains the digits demo model (a small CNN, in numpy) and writes it beside this script.

  model.onnx     image FP32 [-1,1,28,28] -> logits FP32 [-1,10]
  samples/N.png  one held-out image of each digit that the model classifies correctly
  heldout.bin    the whole held-out part: images, then labels (heldout.json describes it)

Images. scikit-learn's load_digits() has 1797 images of 8x8 values 0..16. Each becomes an
8-bit gray image so: pixel = round(value * 255 / 16), then Pillow's
Image.resize((28, 28), Image.Resampling.BILINEAR) on the 8x8 image of mode "L".
The model takes (pixel / 255 - 0.5) / 0.5, that is -1..1, background -1.

Split. 360 images (a fifth), stratified, with a fixed seed, are held out. Training never
sees them, no setting was chosen on them and nothing stops early on them: the number of
epochs is fixed and the last weights are the model.

Everything is seeded and BLAS is held to one thread, so that the same machine and package
versions give the same bytes. Another CPU may round otherwise in the last bits.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
SEED = 20
HELD_OUT = 360
EPOCHS = 30
BATCH = 64
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-4
MAX_SHIFT = 2


def load():
    data = load_digits()
    small = np.rint(data.images * (255.0 / 16.0)).astype(np.uint8)
    images = np.stack(
        [np.asarray(Image.fromarray(s).resize((28, 28), Image.Resampling.BILINEAR)) for s in small]
    )
    return images, data.target.astype(np.int64)


def normalise(images):
    x = (images.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return x[:, None, :, :]


def shift(x, rng):
    """Moves each image by up to MAX_SHIFT pixels each way, filling with background."""
    m = MAX_SHIFT
    padded = np.pad(x, ((0, 0), (0, 0), (m, m), (m, m)), constant_values=-1.0)
    offsets = rng.integers(0, 2 * m + 1, size=(len(x), 2))
    return np.stack([p[:, dy : dy + 28, dx : dx + 28] for p, (dy, dx) in zip(padded, offsets)])


class Conv:
    """3x3 convolution, padding 1, as a matrix product over im2col columns."""

    def __init__(self, rng, c_in, c_out):
        scale = np.sqrt(2.0 / (c_in * 9))
        self.w = rng.normal(0, scale, (c_out, c_in, 3, 3)).astype(np.float32)
        self.b = np.zeros(c_out, np.float32)

    def forward(self, x):
        n, c, h, w = x.shape
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = sliding_window_view(padded, (3, 3), axis=(2, 3))
        self.cols = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * w, c * 9)
        self.shape = x.shape
        y = self.cols @ self.w.reshape(len(self.w), -1).T + self.b
        return y.reshape(n, h, w, -1).transpose(0, 3, 1, 2)

    def backward(self, dy):
        n, c, h, w = self.shape
        flat = dy.transpose(0, 2, 3, 1).reshape(n * h * w, -1)
        self.dw = (flat.T @ self.cols).reshape(self.w.shape)
        self.db = flat.sum(0)
        cols = (flat @ self.w.reshape(len(self.w), -1)).reshape(n, h, w, c, 3, 3)
        dx = np.zeros((n, c, h + 2, w + 2), np.float32)
        for i in range(3):
            for j in range(3):
                dx[:, :, i : i + h, j : j + w] += cols[:, :, :, :, i, j].transpose(0, 3, 1, 2)
        return dx[:, :, 1:-1, 1:-1]


class Dense:
    def __init__(self, rng, n_in, n_out):
        self.w = rng.normal(0, np.sqrt(2.0 / n_in), (n_in, n_out)).astype(np.float32)
        self.b = np.zeros(n_out, np.float32)

    def forward(self, x):
        self.x = x
        return x @ self.w + self.b

    def backward(self, dy):
        self.dw = self.x.T @ dy
        self.db = dy.sum(0)
        return dy @ self.w.T


class Relu:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


class MaxPool:
    """2x2, stride 2."""

    def forward(self, x):
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5)
        blocks = blocks.reshape(n, c, h // 2, w // 2, 4)
        self.arg = blocks.argmax(-1)[..., None]
        self.shape = x.shape
        return np.take_along_axis(blocks, self.arg, -1)[..., 0]

    def backward(self, dy):
        n, c, h, w = self.shape
        blocks = np.zeros((n, c, h // 2, w // 2, 4), np.float32)
        np.put_along_axis(blocks, self.arg, dy[..., None], -1)
        blocks = blocks.reshape(n, c, h // 2, w // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5)
        return blocks.reshape(self.shape)


class Flatten:
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy):
        return dy.reshape(self.shape)


def build(rng):
    return [
        Conv(rng, 1, 8), Relu(), MaxPool(),
        Conv(rng, 8, 16), Relu(), MaxPool(),
        Flatten(), Dense(rng, 16 * 7 * 7, 48), Relu(),
        Dense(rng, 48, 10),
    ]  # fmt: skip


def forward(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def train(x, y, rng):
    layers = build(rng)
    trainable = [layer for layer in layers if hasattr(layer, "w")]
    moments = [[np.zeros_like(a) for a in (l.w, l.w, l.b, l.b)] for l in trainable]
    per_epoch = len(x) // BATCH
    total, step = EPOCHS * per_epoch, 0
    for epoch in range(EPOCHS):
        order, losses = rng.permutation(len(x)), []
        for k in range(per_epoch):
            pick = order[k * BATCH : (k + 1) * BATCH]
            logits = forward(layers, shift(x[pick], rng))
            logits = logits - logits.max(1, keepdims=True)
            p = np.exp(logits)
            p /= p.sum(1, keepdims=True)
            rows = np.arange(BATCH)
            losses.append(-np.log(p[rows, y[pick]] + 1e-9).mean())
            p[rows, y[pick]] -= 1
            grad = p / np.float32(BATCH)
            for layer in reversed(layers):
                grad = layer.backward(grad)
            # Adam, with decoupled weight decay and a cosine learning rate.
            step += 1
            rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / total))
            for layer, (mw, vw, mb, vb) in zip(trainable, moments):
                for value, g, m, v in ((layer.w, layer.dw, mw, vw), (layer.b, layer.db, mb, vb)):
                    m += 0.1 * (g - m)
                    v += 0.001 * (g * g - v)
                    m_hat, v_hat = m / (1 - 0.9**step), v / (1 - 0.999**step)
                    value -= (rate * m_hat / (np.sqrt(v_hat) + 1e-8)).astype(np.float32)
                layer.w *= np.float32(1 - rate * WEIGHT_DECAY)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1:2d} loss {np.mean(losses):.4f}", flush=True)
    return layers


def export(layers):
    conv1, conv2, dense1, dense2 = [layer for layer in layers if hasattr(layer, "w")]
    weights = {}
    for name, layer in (("conv1", conv1), ("conv2", conv2), ("dense1", dense1), ("dense2", dense2)):
        weights[name + ".w"], weights[name + ".b"] = layer.w, layer.b
    node = helper.make_node
    conv = dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    pool = dict(kernel_shape=[2, 2], strides=[2, 2])
    graph = helper.make_graph(
        [
            node("Conv", ["image", "conv1.w", "conv1.b"], ["c1"], **conv),
            node("Relu", ["c1"], ["r1"]),
            node("MaxPool", ["r1"], ["p1"], **pool),
            node("Conv", ["p1", "conv2.w", "conv2.b"], ["c2"], **conv),
            node("Relu", ["c2"], ["r2"]),
            node("MaxPool", ["r2"], ["p2"], **pool),
            node("Flatten", ["p2"], ["f"], axis=1),
            node("Gemm", ["f", "dense1.w", "dense1.b"], ["d1"]),
            node("Relu", ["d1"], ["r3"]),
            node("Gemm", ["r3", "dense2.w", "dense2.b"], ["logits"]),
        ],
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(np.ascontiguousarray(w), k) for k, w in weights.items()],
    )
    model = helper.make_model(
        graph, producer_name="bulkhead-demo", ir_version=8, opset_imports=[helper.make_opsetid("", 17)]
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def main():
    started = time.time()
    images, labels = load()
    train_at, test_at = train_test_split(
        np.arange(len(labels)), test_size=HELD_OUT, random_state=SEED, stratify=labels
    )
    assert not set(train_at) & set(test_at)
    layers = train(normalise(images[train_at]), labels[train_at], np.random.default_rng(SEED))
    (HERE / "model.onnx").write_bytes(export(layers))

    # From here on only the written file counts, as a runtime reads it.
    session = ort.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
    test_images, test_labels = images[test_at], labels[test_at]
    x = normalise(test_images)
    logits = session.run(["logits"], {"image": x})[0]
    assert np.abs(logits - forward(layers, x)).max() < 1e-3
    right = logits.argmax(1) == test_labels
    accuracy = right.mean()

    (HERE / "samples").mkdir(exist_ok=True)
    for digit in range(10):
        first = np.flatnonzero(right & (test_labels == digit))[0]
        Image.fromarray(test_images[first]).save(HERE / "samples" / f"{digit}.png")
        read = np.asarray(Image.open(HERE / "samples" / f"{digit}.png"))
        assert read.dtype == np.uint8 and (read == test_images[first]).all()

    blob = test_images.tobytes() + test_labels.astype(np.uint8).tobytes()
    (HERE / "heldout.bin").write_bytes(blob)
    about = {
        "file": "heldout.bin",
        "layout": "count*height*width uint8 pixels, row-major; then count uint8 labels",
        "count": HELD_OUT,
        "height": 28,
        "width": 28,
        "labels_offset": HELD_OUT * 28 * 28,
        "correct": int(right.sum()),
        "accuracy": round(float(accuracy), 4),
    }
    (HERE / "heldout.json").write_text(json.dumps(about, indent=1) + "\n")

    print(f"{len(train_at)} training images, {time.time() - started:.0f} s")
    print(f"held-out accuracy {accuracy:.4f} ({right.sum()} of {HELD_OUT})")
    assert accuracy >= 0.98


if __name__ == "__main__":
    main()

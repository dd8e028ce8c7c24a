"""What the scripts here share: the datatypes, and values that come back as they went only where nothing is lost."""

import sys

import numpy as np

# A row of each: the extremes, and what JSON has no exact number for in a careless reader.
VALUES = {
    "BOOL": np.array([True, False]),
    "UINT8": np.array([0, 255], np.uint8),
    "UINT16": np.array([0, 65535], np.uint16),
    "UINT32": np.array([0, 2**32 - 1], np.uint32),
    "UINT64": np.array([2**53 + 1, 2**64 - 1], np.uint64),
    "INT8": np.array([-128, 127], np.int8),
    "INT16": np.array([-(2**15), 2**15 - 1], np.int16),
    "INT32": np.array([-(2**31), 2**31 - 1], np.int32),
    "INT64": np.array([-(2**63), 2**53 + 1], np.int64),
    "FP16": np.array([0.5, 65504], np.float16),
    "FP32": np.array([0.1, -3.4e38], np.float32),
    "FP64": np.array([0.1, -1.7e308], np.float64),
    "BYTES": np.array(["", "héllo \N{CRAB}"], dtype=object),
}


# A model of each, which gives back what it takes: `x` -> `y`.
IDENTITIES = [(f"identity-{name.lower()}", name, values) for name, values in VALUES.items()]


def as_bytes(values):
    """Strings as clients give them back."""
    return np.array([value.encode() if isinstance(value, str) else value for value in values.flatten()], dtype=object).reshape(values.shape)


def same(name, got, want):
    if want.dtype == object:
        got, want = as_bytes(got), as_bytes(want)
    assert got is not None and got.shape == want.shape and np.array_equal(got, want), (name, got, want)


def refused(call, *says, error=Exception):
    """The call must fail, with these words."""
    try:
        call()
    except error as failure:
        text = str(failure)
        for words in says:
            assert words in text, (words, text)
        return text
    raise AssertionError(f"was not refused: expected {says}")


def done():
    print(f"{sys.argv[0].rsplit('/', 1)[-1]}: ok")

"""Weights and gradients as base64, for golden files: the counterpart of test/models/support/training.ts."""

import base64

import numpy as np


def encoded(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def to_bfloat16(values):
    """The upper halves of float32 numbers, rounded to nearest."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16)


def from_bfloat16(halves):
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)

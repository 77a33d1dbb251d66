"""Numbers that Python and TypeScript compute in the same way: the counterpart of lib/check/hashed.ts."""

import numpy as np


def hashes(count, salt):
    """Integers in [0, 2^16), one for each index: the finalizer of MurmurHash3."""
    with np.errstate(over="ignore"):
        h = (np.arange(count, dtype=np.uint32) + np.uint32(1)) * np.uint32(0x9E3779B1)
        h = h + np.uint32(salt * 0x85EBCA77 % 2**32)
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        return ((h ^ (h >> np.uint32(16))) >> np.uint32(16)).astype(np.int64)


def numbers(count, salt, center=0):
    """Float64 in [center - 1, center + 1), multiples of 2^-15: float32 holds them exactly."""
    return hashes(count, salt) / 32768 - 1 + center


def labels(count, salt, below):
    """Integers in [0, below)."""
    return hashes(count, salt) % below

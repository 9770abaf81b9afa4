# SPDX-License-Identifier: BSD-3-Clause
"""The CRC-32 of a large file: python checksum.py [--quick] [FILE]; without one, of Python's largest library.

The file is mapped into memory, and zlib lets go of the GIL. Two checksums make one, if it is known how long the second
part is; their order matters, which is why the reduction is deterministic.
"""

import mmap
import sys
import zlib
from functools import lru_cache
from pathlib import Path

from compare import QUICK, compare

import ktask

POLYNOMIAL = 0xEDB88320
LEAST = 1 << 16  # bytes, that a thread is called for


def times(matrix, vector):
    """A matrix of 32 columns, each 32 bits, times a vector: additions are exclusive ors."""
    product = 0
    for column in matrix:
        if vector & 1:
            product ^= column
        vector >>= 1
    return product


@lru_cache
def zeros(size):
    """The matrix that makes the checksum of some text into that of the text and ``size`` zero bytes."""
    if size == 0:
        return [1 << bit for bit in range(32)]
    if size == 1:
        matrix = [POLYNOMIAL] + [1 << bit for bit in range(31)]  # for one bit
        for _ in range(3):
            matrix = [times(matrix, column) for column in matrix]
        return matrix
    half, rest = zeros(size // 2), zeros(size % 2)
    return [times(rest, times(half, column)) for column in half]


def combine(first, second):
    """The checksum and size of two parts together, from those of each."""
    (crc, size), (crc_of_second, size_of_second) = first, second
    return times(zeros(size_of_second), crc) ^ crc_of_second, size + size_of_second


def with_ktask(data):
    def part(start, end):
        return zlib.crc32(data[start:end]), end - start

    return ktask.reduce(part, len(data), (0, 0), combine, deterministic=True, min_chunk=LEAST)[0]


files = [Path(name) for name in sys.argv[1:] if not name.startswith("-")] or list(Path(sys.prefix).rglob("*.so*"))
file = max(files or [Path(sys.executable)], key=lambda file: file.stat().st_size)
with file.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as whole:
    data = whole[: 8 << 20] if QUICK else whole
    crc = compare({"zlib": lambda: zlib.crc32(data), "zlib, ktask.reduce": lambda: with_ktask(data)})
    print(f"{crc:08x}  {file.name}, {len(data):,} bytes")
    data.release()

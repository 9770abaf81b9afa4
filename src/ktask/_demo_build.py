# SPDX-License-Identifier: BSD-3-Clause
"""Builds the extension module ``ktask._demo_kernels`` (cffi, API mode) from ``csrc/examples/kernels.c``."""

import os

from cffi import FFI

DECLARATIONS = """
int fill(void *start, void *end, void *memory);

#define STEPS_PER_SUM ...
struct integral { double step; double *sums; };
int integrate(void *start, void *end, void *integral);

struct picture { float *pixels; size_t width; double left, top, size; int max_steps; };
int mandelbrot(void *start, void *end, void *picture);

struct item;
struct item *list_new(size_t size);
void *list_skip(void *position, size_t size);
int list_free(void *start, void *end, void *checksums);

int memcmp(const void *, const void *, size_t);
"""

ffibuilder = FFI()
ffibuilder.cdef(DECLARATIONS)
ffibuilder.set_source(
    "ktask._demo_kernels",
    '#include "kernels.c"',
    include_dirs=["csrc/examples"],
    depends=["csrc/examples/kernels.c"],
    libraries=["m"] if os.name == "posix" else [],
    extra_compile_args=[f"-ffile-prefix-map={os.getcwd()}=."] if os.name == "posix" else [],  # as in _build.py
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)

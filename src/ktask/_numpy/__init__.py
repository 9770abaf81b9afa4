# SPDX-License-Identifier: BSD-3-Clause
"""What makes NumPy's ufuncs run on ktask, behind ``ktask.accelerate_numpy`` and ``ktask.numpy``.

``_tables``   a ufunc's table of inner loops, with ktask's in their place
``loops.c``   an inner loop, run in chunks
``folds.c``   reductions, in chunks
``positions.c``  argmin and argmax
``calls.h``   finds large calls that are more than one inner loop
``_split``    and makes several calls of them
``arrays.h``  tells ktask.memory which arrays are small
``buffers.c``, ``_buffers``  large arrays' memory, kept for the next ones
``_api``      NumPy's C interface
"""

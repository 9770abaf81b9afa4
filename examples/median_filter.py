# SPDX-License-Identifier: BSD-3-Clause
"""Takes the noise out of a photograph: SciPy's median filter, in tiles.

A tile is filtered along with the margin that its edges need, so that the result is the same to the last bit. The larger
the tiles, the less is filtered twice.
"""

import numpy as np
from compare import QUICK, compare
from scipy.ndimage import median_filter
from skimage import data

import ktask

SIZE = (7, 7, 1)  # rows, columns, colours
MARGIN = 3

image = data.rocket()
if QUICK:
    image = image[:100, :100]


def usual():
    return median_filter(image, SIZE)


def with_ktask():
    out = np.empty_like(image)

    def tile(row, row_end, column, column_end):
        top, left = max(row - MARGIN, 0), max(column - MARGIN, 0)
        filtered = median_filter(image[top : row_end + MARGIN, left : column_end + MARGIN], SIZE)
        rows, columns = slice(row - top, row_end - top), slice(column - left, column_end - left)
        out[row:row_end, column:column_end] = filtered[rows, columns]

    ktask.parallel_for_2d(tile, image.shape[:2], tile=(96, 128))
    return out


compare({"SciPy": usual, "SciPy, ktask.parallel_for_2d": with_ktask})

# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, boundscheck=False, wraparound=False
"""For each name of a list, the one that is most like it. A list ends with an empty name."""

from cython.parallel cimport prange

cdef enum:
    LONGEST = 24

cdef struct Name:
    char text[LONGEST]
    int length
    int nearest


cdef int edits(const Name *a, const Name *b) noexcept nogil:
    """How many letters have to be put in, taken away or changed to make one of the other."""
    cdef int row[LONGEST + 1]
    cdef int i, j, diagonal, above
    for j in range(b.length + 1):
        row[j] = j
    for i in range(a.length):
        diagonal = row[0]
        row[0] = i + 1
        for j in range(b.length):
            above = row[j + 1]
            diagonal += a.text[i] != b.text[j]
            row[j + 1] = min(diagonal, above + 1, row[j] + 1)
            diagonal = above
    return row[b.length]


cdef void find_nearest(Name *names, Py_ssize_t i) noexcept nogil:
    cdef int distance, least = 2 * LONGEST
    cdef Py_ssize_t j = 0
    while names[j].length:
        if j != i and abs(names[j].length - names[i].length) < least:
            distance = edits(&names[i], &names[j])
            if distance < least:
                least = distance
                names[i].nearest = <int>j
        j += 1


# What ktask calls. `api` puts it into this module's __pyx_capi__, where Python finds it.
cdef api int find_chunk(Py_ssize_t start, Py_ssize_t end, void *names) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(start, end):
        find_nearest(<Name *>names, i)
    return 0


def serial(unsigned char[::1] names, Py_ssize_t n):
    with nogil:
        find_chunk(0, n, &names[0])


def openmp(unsigned char[::1] names, Py_ssize_t n):
    cdef Py_ssize_t i
    for i in prange(n, nogil=True, schedule="dynamic"):
        find_nearest(<Name *>&names[0], i)

# SPDX-License-Identifier: BSD-3-Clause
"""PyCapsules: Python objects that hold a pointer of C's. The name of one that holds a function is its C signature.

This is how Cython (``__pyx_capi__``) and Pythran hand functions over, and what ``scipy.LowLevelCallable`` takes.
"""

from __future__ import annotations

import ctypes
import re

# Prototypes of our own: those of ctypes.pythonapi belong to everybody in the process.
_get_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
_get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def is_capsule(value: object) -> bool:
    """Is it a PyCapsule? Before Python 3.13, the type is to be had by its name only."""
    return type(value).__name__ == "PyCapsule"


def name_of(capsule: object) -> str | None:
    """What the capsule's maker called it; None if nothing."""
    name = _get_name(capsule)
    return None if name is None else name.decode(errors="replace")


def pointer_of(capsule: object) -> int:
    """Where it points. A capsule is never empty."""
    return int(_get_pointer(capsule, _get_name(capsule)))


def signature_of(text: str) -> tuple[str, list[str]] | None:
    """The types of result and arguments in ``int (void *, void *, double (*)(int))``; None if it is no signature."""
    match = re.fullmatch(r"([\w\s*]+?)\s*(?:\(\s*\*\s*\)\s*)?\((.*)\)[\w\s?*-]*", text.strip(), re.DOTALL)
    if match is None:
        return None
    arguments, depth = [""], 0
    for character in match[2]:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += character
    arguments = [argument.strip() for argument in arguments]
    return match[1], [] if arguments in ([""], ["void"]) else arguments

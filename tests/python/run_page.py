# SPDX-License-Identifier: BSD-3-Clause
"""Runs the code of a Markdown page, from top to bottom: `python run_page.py PAGE`, in a folder of its own.

What is done with a block says its language:

- python: it is run, with the names of the blocks before it; with doctest if it begins with >>>
- c and cpp: it is compiled, linked with the C library in the folder KTASK_LIBRARY, and run. The main() that uses it
  comes after it as a comment that readers do not see, from `<!-- main` to `-->`
- sh: it is run
- anything else (console, text, ...): nothing

A block whose first line is a comment with a file's name is written to that file, and no more is done with it. What
needs a module or program that is not here is skipped, and so is what then lacks a name.
"""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

INCLUDE = Path(__file__).parents[2] / "csrc" / "include"
COMPILERS = {"c": ["cc", "-x", "c", "-std=c11"], "cpp": ["c++", "-x", "c++", "-std=c++17"]}
FLAGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-fopenmp", f"-I{INCLUDE}", "-"]
LIBRARIES = ["-x", "none", "-L", os.environ.get("KTASK_LIBRARY", "."), "-l:libktask.a", "-lm", "-pthread"]


class Block(NamedTuple):
    """One block of code: the line it begins in, its language, the file it is to be, if it names one, and its text."""

    line: int
    language: str
    file: str | None
    text: str


class NotHereError(Exception):
    """Something that a block needs is not installed."""


def blocks_of(text: str) -> list[Block]:
    """All blocks of a page that name a language."""
    blocks = []
    shown_and_not = r"^```(\w+)\n(.*?)^```$(?:\n+<!-- main\n(.*?)^-->$)?"
    for match in re.finditer(shown_and_not, text, re.DOTALL | re.MULTILINE):
        named = re.match(r"(?:# |/\* )(\w+\.\w+)(?: \*/)?\n", match[2])
        line = text.count("\n", 0, match.start()) + 1
        blocks.append(Block(line, match[1], named[1] if named else None, match[2] + (match[3] or "")))
    return blocks


def do(block: Block, name: str, names: dict[str, Any]) -> None:
    if "pythran" in block.text and shutil.which("pythran") is None:
        raise NotHereError("pythran")  # Python would import its source
    if block.file:
        Path(block.file).write_text(block.text, encoding="utf-8")
    elif block.language == "sh":
        subprocess.run(["sh", "-e", "-c", block.text], check=True)
    elif block.language in COMPILERS:
        program = Path(f"{name}_{block.line}").absolute()
        command = [*COMPILERS[block.language], "-o", str(program), *FLAGS, *LIBRARIES]
        subprocess.run(command, input=block.text, text=True, check=True)
        subprocess.run([program], check=True)
    elif block.language == "python" and block.text.startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(block.text, names, name, name, block.line)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        if runner.run(test, clear_globs=False).failed:
            raise AssertionError("see above")
        names.update(test.globs)
    elif block.language == "python":
        program = Path(f"{name}_{block.line}.py").absolute()  # numba reads the source, and tracebacks show it
        program.write_text(block.text, encoding="utf-8")
        importlib.invalidate_caches()
        run_python(program, names)


def run_python(program: Path, names: dict[str, Any]) -> None:
    try:
        exec(compile(program.read_text(encoding="utf-8"), str(program), "exec"), names)
    except ImportError as error:
        missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__ or error.__context__
        if not isinstance(missing, ModuleNotFoundError) or (missing.name or "").startswith("ktask"):
            raise
        raise NotHereError(missing.name) from None


def main(page: Path) -> int:
    sys.modules["__main__"] = program = ModuleType("__main__")  # by that name, functions can be sent to other processes
    names = vars(program)
    skipped = False
    for block in blocks_of(page.read_text(encoding="utf-8")):
        try:
            do(block, page.stem.replace("-", "_"), names)
        except NotHereError as missing:
            skipped = True
            print(f"{page.name}:{block.line} is skipped: {missing} is not here")
        except NameError as error:
            if not skipped:
                raise
            print(f"{page.name}:{block.line} is skipped: {error}")
        except BaseException:
            traceback.print_exc()
            print(f"{page.name}:{block.line} fails")
            return 1
    return 0


if __name__ == "__main__":
    sys.path.insert(0, ".")
    sys.exit(main(Path(sys.argv[1])))

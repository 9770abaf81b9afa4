#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Seeds one small bug at a time and runs the tests that should notice.

mutate.py [--check | --match TEXT | --sample N | --part K/N] [FILE ...]

For C it works on tokens (comparisons, arithmetic, constants, jumps) and lines (statements left out), for Python on the
syntax tree. A mutant that does not compile is none. One that no test notices survives: it is printed with its place,
unless ``harmless.txt`` beside this file has its line, with the reason why no test could tell. A line there that is
about no mutant any more is an error, too.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
C_TESTS = (
    "claims claim_race pace holes short",  # most do not get past these, which take no time
    "undo bad_input numa stress contract first_failure iterator max_threads",
)
PYTHON_TESTS = (
    "tests/python/test_contract.py tests/python/test_exceptions.py tests/python/test_iterator.py "
    "tests/python/test_parallel_for.py tests/python/test_bad_input.py tests/python/test_ctl.py "
    "tests/python/test_python_door.py tests/python/test_func_arg.py tests/python/test_function_kinds.py "
    "tests/python/test_progress.py tests/python/test_kernel_names.py tests/python/test_capsules.py "
    "tests/python/test_nodes_of.py tests/python/test_direct.py tests/python/test_fork.py "
    "tests/python/test_exit.py::test_a_run_while_the_interpreter_ends"
)
FILES = [
    "csrc/chunk.c",
    "csrc/undo.c",
    "src/ktask/_call.py",
    "src/ktask/_convert.py",
    "src/ktask/_ctl.py",
    "src/ktask/_run.py",
]
TIMEOUT = 90
JOBS = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Mutant:
    """One change: the text that takes the place of the file's bytes from start to end."""

    file: str
    line: int
    start: int
    end: int
    new: str
    old: str

    def __str__(self) -> str:
        return f"{self.file}: {self.old} -> {self.new}"


C_SWAPS = {
    "<=": ["<"],
    ">=": [">"],
    "<": ["<="],
    ">": [">="],
    "==": ["!="],
    "!=": ["=="],
    "&&": ["||"],
    "||": ["&&"],
    "+": ["-"],
    "-": ["+"],
    "*": ["/"],
    "/": ["*"],
    "%": ["/"],
    "+=": ["-="],
    "++": ["--"],
    "break": ["continue"],
    "continue": ["break"],
    "0": ["1"],
    "1": ["0", "2"],
    "2": ["1"],
    "true": ["false"],
    "false": ["true"],
}
C_TOKEN = re.compile(
    r"""(?P<skip>/\*.*?\*/|"(?:\\.|[^"\\])*"|^\s*\#[^\n]*|static_assert\(.*?\);|[A-Za-z_]\w*(?:->|\.)|->)"""
    r"""|(?P<token>\bbreak\b|\bcontinue\b|\btrue\b|\bfalse\b|<<|>>|<=|>=|==|!=|&&|\|\||\+=|\+\+|--|-=|[-+*/%<>]|\b[012]\b)"""
    r"""|\w+|.""",
    re.S | re.M | re.X,
)


C_STATEMENT = re.compile(r"(?<=[;{})\n]\n)\t+(?!return|goto|static|break|continue)([A-Za-z_*][^;{}\n]*;)(?=\n)")


def c_mutants(file: str, text: str) -> Iterator[Mutant]:
    """Operators, constants, jumps; statements of one line."""
    for match in C_STATEMENT.finditer(text):
        yield Mutant(file, text.count("\n", 0, match.start()) + 1, match.start(1), match.end(1), ";", match[1])
    for match in C_TOKEN.finditer(text):
        token = match["token"]
        if token in ("*", "-") and not re.match(r"[\w)\]] \Z", text[match.start() - 2 : match.start()]):
            continue  # a pointer, or a sign
        for new in C_SWAPS.get(token or "", []):
            line = text.count("\n", 0, match.start()) + 1
            source = text.splitlines()[line - 1].strip()
            yield Mutant(file, line, match.start(), match.end(), new, f"{token} in {source}")


PY_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
}


def python_mutants(file: str, text: str) -> Iterator[Mutant]:
    """Comparisons, conditions, boolean operators, small constants, sums; statements."""
    lines = [0]
    for one in text.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(one))

    def mutant(node: ast.expr | ast.stmt, new: str) -> Mutant:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start, end = lines[node.lineno - 1] + node.col_offset, lines[node.end_lineno - 1] + node.end_col_offset
        old = text.encode()[start:end].decode()
        if isinstance(node, ast.Constant):
            old += f" in {text.splitlines()[node.lineno - 1].strip()}"
        return Mutant(file, node.lineno, start, end, new, old)

    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in PY_COMPARE:
            left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
            yield mutant(node, f"{left} {PY_COMPARE[type(node.ops[0])]} {right}")
        elif isinstance(node, ast.BoolOp):
            other = " or " if isinstance(node.op, ast.And) else " and "
            yield mutant(node, "(" + other.join(f"({ast.unparse(value)})" for value in node.values) + ")")
        elif isinstance(node, ast.IfExp):
            yield mutant(
                node, f"({ast.unparse(node.orelse)} if {ast.unparse(node.test)} else {ast.unparse(node.body)})"
            )
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield mutant(node, f"({ast.unparse(node.operand)})")
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            new = "-" if isinstance(node.op, ast.Add) else "+"
            yield mutant(node, f"({ast.unparse(node.left)} {new} {ast.unparse(node.right)})")
        elif isinstance(node, ast.Constant) and type(node.value) is int and node.value in (0, 1):
            yield mutant(node, str(1 - node.value))
        elif isinstance(node, ast.Raise | ast.AugAssign) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        ):
            yield mutant(node, "pass")


class Copy:
    """A copy of the tree to break, with a build of its own."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        for part in ("csrc", "src", "tests"):
            shutil.copytree(
                ROOT / part, self.folder / part, ignore=shutil.ignore_patterns("build", "__pycache__", ".hypothesis")
            )
        for part in ("pyproject.toml", "setup.py", "README.md", "CHANGELOG.md", "LICENSE", "MANIFEST.in"):
            shutil.copy(ROOT / part, self.folder)

    def passes(self, command: str) -> bool:
        environment = os.environ | {"CHECK_QUICK": "1", "PYTHONPATH": str(self.folder / "src")}
        with subprocess.Popen(
            command,
            shell=True,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                return process.wait(TIMEOUT) == 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                return False

    def survives(self, mutant: Mutant) -> bool:
        """Do the tests that could notice it pass all the same?"""
        file = self.folder / mutant.file
        original = file.read_bytes()
        file.write_bytes(original[: mutant.start] + mutant.new.encode() + original[mutant.end :])
        try:
            if file.suffix == ".py":
                return self.passes(f"{sys.executable} -m pytest -x -p no:cacheprovider {PYTHON_TESTS}")
            if not self.passes(f"cc -std=c11 -w -Icsrc/include -fsyntax-only {mutant.file}"):
                return False
            return all(
                self.passes(
                    f"make -s -C tests/c check TESTS='{tests}' TIMEOUT=20 CFLAGS='-O1 -fsanitize=undefined "
                    "-fno-sanitize-recover=all' WARNINGS=-w"
                )
                for tests in C_TESTS
            )
        finally:
            file.write_bytes(original)


def mutants_of(name: str) -> Iterator[Mutant]:
    """All changes to a file that are tried."""
    if name.endswith(".c"):
        return c_mutants(name, (ROOT / name).read_text("latin-1"))  # so that characters are bytes
    return python_mutants(name, (ROOT / name).read_text())


def known_harmless(files: list[str]) -> set[str]:
    """The mutants of these files that no test can notice."""
    lines = (Path(__file__).parent / "harmless.txt").read_text().splitlines()
    return {line.split("  # ")[0].strip() for line in lines if line.split(":")[0] in files}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", default=FILES)
    parser.add_argument("--check", action="store_true", help="look only whether harmless.txt is up to date")
    parser.add_argument("--match", default="", help="only those with this in the line that tells of them")
    parser.add_argument("--sample", type=int, help="only so many, chosen at random")
    parser.add_argument("--part", default="1/1", help="the K-th of N parts, for when all would take too long")
    options = parser.parse_args()
    mutants = [mutant for name in options.files for mutant in mutants_of(name)]
    harmless = known_harmless(options.files)
    stale = harmless - set(map(str, mutants))
    for line in sorted(stale):
        print(f"harmless.txt, about no mutant: {line}")
    if options.check:
        return 1 if stale else 0
    part, parts = map(int, options.part.split("/"))
    mutants = [m for m in mutants[part - 1 :: parts] if str(m) not in harmless and options.match in str(m)]
    if options.sample is not None:
        mutants = random.sample(mutants, min(options.sample, len(mutants)))

    with tempfile.TemporaryDirectory() as folder:
        copies = [Copy(f"{folder}/{i}") for i in range(JOBS)]

        def try_all(i: int) -> list[Mutant]:
            found = []
            for mutant in mutants[i::JOBS]:
                if copies[i].survives(mutant):
                    print(f"survives: {mutant.file}:{mutant.line}: {mutant.old} -> {mutant.new}", flush=True)
                    found.append(mutant)
            return found

        with ThreadPoolExecutor(JOBS) as pool:
            survivors = sum(map(len, pool.map(try_all, range(JOBS))))
    print(f"{len(mutants)} mutants, {survivors} survive, {len(harmless)} known to be harmless")
    return 1 if survivors or stale else 0


if __name__ == "__main__":
    sys.exit(main())

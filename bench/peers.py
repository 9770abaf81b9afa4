# SPDX-License-Identifier: BSD-3-Clause
"""The C libraries that ktask is measured beside: how a program is built for each of them, and started."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
CSRC = HERE.parent / "csrc"


@dataclass(frozen=True)
class Peer:
    """One library in one mode. `package` is what has it on Debian."""

    flags: tuple[str, ...]
    package: str = "g++"
    compiler: str = "g++"
    environment: dict[str, str] = field(default_factory=dict)


PLAIN = "bare futex"
"""No library: what plain code with sleeping threads gets, where that is the question."""

PEERS = {
    "ktask": Peer(("-DPEER_ktask", f"-I{CSRC / 'include'}", str(BUILD / "ktask" / "libktask.a"), "-pthread")),
    "libgomp dynamic": Peer(("-DPEER_openmp", "-DSCHEDULE=dynamic", "-fopenmp")),
    "libgomp passive": Peer(
        ("-DPEER_openmp", "-DSCHEDULE=dynamic", "-fopenmp"), environment={"OMP_WAIT_POLICY": "passive"}
    ),
    "libgomp static": Peer(("-DPEER_openmp", "-DSCHEDULE=static", "-DONE_BLOCK_EACH", "-fopenmp")),
    "libgomp guided": Peer(("-DPEER_openmp", "-DSCHEDULE=guided", "-fopenmp")),
    "libomp dynamic": Peer(
        ("-DPEER_openmp", "-DSCHEDULE=dynamic", "-fopenmp"), package="clang libomp-dev", compiler="clang++"
    ),
    "oneTBB": Peer(("-DPEER_tbb", "-ltbb"), package="libtbb-dev"),
    "pthreadpool": Peer(("-DPEER_pthreadpool", "-lpthreadpool"), package="libpthreadpool-dev"),
    PLAIN: Peer(("-DPEER_futex", "-pthread")),
}


def compile_(program: Path, command: list[str]) -> str | None:
    """Runs a compiler, unless the program is newer than all that it may be made of. The complaint, or None."""
    sources = [*HERE.glob("*.[ch]*"), *BUILD.glob("ktask/*.a"), *BUILD.glob("*.o")]
    made = program.stat().st_mtime if program.exists() else 0.0
    if made > max(f.stat().st_mtime for f in sources if f != program):
        return None
    try:
        result = subprocess.run([*command, "-O2", "-Wall", "-o", str(program)], capture_output=True, check=False)
    except FileNotFoundError:
        return f"there is no {command[0]}"
    return result.stderr.decode() if result.returncode else None


@cache
def build_common() -> Path:
    """Builds the library, and the thread functions: bodies.o for the programs, bodies.so (returned) for Python."""
    BUILD.mkdir(exist_ok=True)
    subprocess.run(["make", "-s", "-C", CSRC, f"BUILD={BUILD / 'ktask'}"], check=True)
    source = ["gcc", "-std=c11", "-fPIC", str(HERE / "bodies.c")]
    complaint = compile_(BUILD / "bodies.o", [*source, "-c"]) or compile_(BUILD / "bodies.so", [*source, "-shared"])
    if complaint:
        raise SystemExit(complaint)
    return BUILD / "bodies.so"


@cache
def build_plain(source: str) -> Path:
    """Compiles bench/<source>.cpp, which measures the machine and no library."""
    build_common()
    program = BUILD / source
    complaint = compile_(
        program, ["g++", "-std=c++17", str(HERE / f"{source}.cpp"), str(BUILD / "bodies.o"), "-pthread"]
    )
    if complaint:
        raise SystemExit(complaint)
    return program


@cache
def build(source: str, peer: str) -> Path | None:
    """Compiles bench/<source>.cpp for a peer; None where the machine has not got it."""
    how = PEERS[peer]
    build_common()
    program = BUILD / f"{source}-{peer.replace(' ', '-')}"
    files = [str(HERE / f"{source}.cpp"), str(BUILD / "bodies.o")]
    complaint = compile_(program, [how.compiler, "-std=c++17", *files, *how.flags])
    if complaint and peer == "ktask":
        raise SystemExit(complaint)
    return None if complaint else program


def start(program: Path, peer: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a program of build() as this peer is to be run; its output can be read."""
    return subprocess.Popen(
        [str(program), *map(str, arguments)],
        env={**os.environ, **PEERS[peer].environment},
        stdout=subprocess.PIPE,
        text=True,
    )

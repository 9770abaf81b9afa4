# SPDX-License-Identifier: BSD-3-Clause
"""Runs programs in a small virtual machine with NUMA nodes as wanted.

The guest is a Debian kernel, busybox and the programs, in an initial RAM disk; nothing of the host is seen in it. It is
emulated (a KVM guest need not allow guests of its own), so nothing in it says how fast anything is, and threads take
turns; but the kernel's nodes, CPU sets and limits are real.

The kernel is taken out of its Debian package once, into tests/vm/build. KTASK_VM_KERNEL=FILE names another one: an
uncompressed vmlinux, or a bzImage, which takes longer to start.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import py_compile
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
QEMU = "qemu-system-x86_64"
PACKAGE = "linux-image-amd64"

# All but the console is there to start sooner; and pages are to stay where they are. The kernel starts on one CPU, and
# init brings the others up: until a kernel can stop its clock's ticks, those of 64 emulated CPUs are all that it does.
# For each CPU it would measure how long a loop of lpj turns takes, with 250 ticks a second and a count of 1 GHz.
KERNEL_ARGUMENTS = (
    "console=ttyS0 loglevel=4 panic=-1 rdinit=/init tsc=reliable no_timer_check lpj=4000000 maxcpus=1 nowatchdog "
    "mitigations=off cryptomgr.notests rcupdate.rcu_expedited=1 numa_balancing=disable"
)


UP = "the machine is up\n"

# An emulated machine now and then hangs before its kernel says a word. Such a one is started anew.
STARTS = 3
UP_SECONDS = 150


class MissingError(Exception):
    """What it takes is not there."""


@dataclass(frozen=True)
class Node:
    """A NUMA node: how many CPUs, how much memory in MiB."""

    cpus: int = 2
    memory: int = 128


def kernel() -> Path:
    """The kernel to boot."""
    if "KTASK_VM_KERNEL" in os.environ:
        return Path(os.environ["KTASK_VM_KERNEL"])
    vmlinux = BUILD / "vmlinux"
    if not vmlinux.exists():
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            image = download(Path(folder)).read_bytes()
            Path(folder, "vmlinux").write_bytes(unpacked(image))
            Path(folder, "vmlinux").rename(vmlinux)
    return vmlinux


def download(folder: Path) -> Path:
    """Fetches the kernel's package, and takes the kernel out of it."""
    try:
        depends = subprocess.run(["apt-cache", "depends", PACKAGE], capture_output=True, text=True, check=True).stdout
        real = re.search(r"Depends: (linux-image-\S+)", depends)
        if real is None:
            raise MissingError(f"apt knows no package {PACKAGE}")
        command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", real[1]]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        subprocess.run(["dpkg", "-x", next(folder.glob("*.deb")), folder], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingError(f"the kernel's package cannot be had: {error}") from None
    return next(folder.glob("boot/vmlinuz-*"))


def unpacked(image: bytes) -> bytes:
    """The ELF file in a bzImage that is packed with xz: unpacking it in the guest would take as long as all the rest.

    Offsets are those of the x86 boot protocol (Documentation/arch/x86/boot.rst): the number of setup sectors, and
    where after those the payload lies, whose last four bytes are its unpacked size.
    """
    setup = (1 + image[0x1F1]) * 512
    offset, length = (int.from_bytes(image[at : at + 4], "little") for at in (0x248, 0x24C))
    payload = image[setup + offset : setup + offset + length - 4]
    if not payload.startswith(b"\xfd7zXZ") or not shutil.which("xz"):
        return image
    return subprocess.run(["xz", "-dc"], input=payload, stdout=subprocess.PIPE, check=True).stdout


def initial_ram_disk(files: dict[str, bytes]) -> bytes:
    """A cpio archive (newc) of executable files, and the folders that they are in."""
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in sorted(folders | {"proc", "sys", "tmp", "dev", "run"})]
    entries += [(name, stat.S_IFREG | 0o755, data) for name, data in files.items()]
    archive = bytearray()
    for inode, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + data
        archive += bytes(-len(archive) % 4)
    return gzip.compress(bytes(archive), 1)


def python(script: Path) -> dict[str, bytes]:
    """What it takes to run this script in a guest, as ``/python``: this interpreter, and what the script imports here.

    Modules go there compiled, since the guest would take long for that. The script must print them, given ``--files``.
    """
    interpreter = os.path.realpath(sys.executable)
    environment = {"PYTHONHOME": sys.base_prefix, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    command = [interpreter, "-S", str(script), "--files"]
    loaded = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split("\n")
    compiled = [interpreter, *(file for file in loaded if file.endswith(".so"))]
    libraries = subprocess.run(["ldd", *compiled], capture_output=True, text=True, check=True).stdout
    compiled += re.findall(r"\s(/\S+) \(0x", libraries)
    files = {file[1:]: Path(file).read_bytes() for file in compiled}
    with tempfile.TemporaryDirectory() as folder:
        for file in (file for file in loaded if file.endswith(".py")):
            pyc = py_compile.compile(file, str(Path(folder, "module.pyc")), doraise=True)
            assert pyc is not None
            files[f"{file[1:]}c"] = Path(pyc).read_bytes()
    exports = "".join(f"export {name}={value}\n" for name, value in environment.items())
    files["python"] = f"#!/bin/sh -e\n{exports}exec {interpreter} -S {script}c\n".encode()
    return files


def topology(nodes: list[Node], distances: list[list[int]] | None) -> list[str]:
    """QEMU's arguments: each CPU a socket of its own, so that any number of them makes a node."""
    total, memory, first = sum(n.cpus for n in nodes), sum(n.memory for n in nodes), 0
    arguments = ["-smp", f"{total},sockets={total},cores=1,threads=1", "-m", f"{memory}M"]
    for nid, node in enumerate(nodes):
        text = f"node,nodeid={nid}"
        if node.memory:
            arguments += ["-object", f"memory-backend-ram,id=memory{nid},size={node.memory}M"]
            text += f",memdev=memory{nid}"
        if node.cpus:
            text += f",cpus={first}-{first + node.cpus - 1}"
            first += node.cpus
        arguments += ["-numa", text]
    for a, b in product(range(len(nodes)), repeat=2):
        distance = distances[a][b] if distances else 10 if a == b else 20
        arguments += ["-numa", f"dist,src={a},dst={b},val={distance}"]
    return arguments


def run(
    nodes: list[Node],
    script: str,
    programs: dict[str, Path],
    *,
    distances: list[list[int]] | None = None,
    files: dict[str, bytes] | None = None,
    patience: int = 150,
) -> str:
    """Boots a machine and runs a shell script in it, as root; the programs are in its PATH. Returns what it printed.

    ``files`` are there as well, by path without the first slash. The script has so many seconds of ``patience``; then
    the machine tells where its threads are, and is switched off.

    Raises MissingError where there is no emulator, and AssertionError when the machine does not come up or the script
    fails.
    """
    busybox = shutil.which("busybox")
    if not shutil.which(QEMU) or not busybox:
        raise MissingError(f"{QEMU} or busybox is not installed")
    contents = {
        **(files or {}),
        "init": (HERE / "init").read_bytes(),
        "main": script.encode(),
        "bin/busybox": Path(busybox).read_bytes(),
        **{f"bin/{name}": path.read_bytes() for name, path in programs.items()},
    }
    vmlinux = kernel()
    with tempfile.TemporaryDirectory(prefix="ktask-vm-") as folder:
        disk, console, output = (Path(folder, name) for name in ("disk", "console", "output"))
        disk.write_bytes(initial_ram_disk(contents))
        command = [QEMU, "-M", "q35", "-cpu", "max", "-accel", "tcg,thread=single", "-nodefaults", "-display", "none"]
        command += ["-no-reboot", *topology(nodes, distances), "-kernel", str(vmlinux), "-initrd", str(disk)]
        command += ["-append", f"{KERNEL_ARGUMENTS} patience={patience}"]
        command += ["-serial", f"file:{console}", "-serial", f"file:{output}"]
        for _ in range(STARTS):
            text = boot(command, output, patience)
            if text:
                break
        log = read(console)
    lines, _, status = text.removeprefix(UP).rpartition("exit status ")
    assert status == "0\n", f"{text}\nThe machine's console ends with:\n{log[-3000:]}"
    return lines


def boot(command: list[str], output: Path, patience: int) -> str:
    """Runs a machine until it is switched off. Returns what it wrote to that file: nothing if it did not come up."""
    output.unlink(missing_ok=True)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as machine:
        try:
            deadline = time.monotonic() + UP_SECONDS
            while UP not in read(output) and machine.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            if UP in read(output):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    machine.wait(patience + UP_SECONDS)
        finally:
            machine.kill()
    return read(output)


def read(file: Path) -> str:
    """What a machine has written to its serial port."""
    return file.read_text(errors="replace").replace("\r\n", "\n") if file.exists() else ""

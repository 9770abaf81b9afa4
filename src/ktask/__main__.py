# SPDX-License-Identifier: BSD-3-Clause
"""``python -m ktask``: see ktask at work, and what it makes of this machine."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ktask
from ktask._info import sentence
from ktask._terminal import BAD_USAGE, DONE, FAILED, INTERRUPTED, UNREAD, print_table

EXAMPLES = """\
examples:
  python -m ktask demo                  six jobs, serially and with ktask, side by side
  python -m ktask demo --quick          the same with little to do, in a few seconds
  python -m ktask info                  what ktask sees of this machine
  python -m ktask top                   which processes have helpers at work, live
  python -m ktask trace prog.py         what each thread did when, in a program's runs
  python -m ktask bench                 what ktask is worth on this machine
  python -m ktask COMMAND --help        more of each

exit codes: 0 all went well, 1 results differ or cannot be written, 2 bad usage or missing packages, 130 interrupted;
trace: the program's
"""

Command = Callable[[argparse.Namespace], int]

DEMO_EXAMPLES = """\
examples:
  python -m ktask demo --quick          with little to do, in a few seconds
  python -m ktask demo --output /tmp    where mandelbrot.png and timeline.png go
"""

INFO_EXAMPLES = """\
examples:
  python -m ktask info                              in words
  python -m ktask info --json | jq .max_helpers     for scripts
  python -m ktask info --svg nodes.svg              a picture of the NUMA nodes
"""

TOP_EXAMPLES = """\
examples:
  python -m ktask top                   live, until Ctrl-C
  python -m ktask top --once --json     an object for scripts; exit code 1 if nothing can be seen
"""

TRACE_EXAMPLES = """\
examples:
  python -m ktask trace prog.py --its --options      runs it; writes trace.json and trace.svg
  python -m ktask trace -o /tmp/mine prog.py         /tmp/mine.json and /tmp/mine.svg
  python -m ktask trace -m package.module --options  as python -m does
  python -m ktask trace --json prog.py | tail -1     the summary for scripts, after the program's output

The .json is for https://ui.perfetto.dev or chrome://tracing. The exit code is the program's. What child processes do is
not seen.
"""

BENCH_EXAMPLES = """\
examples:
  python -m ktask bench                 loops of 2 us to 10 ms, in a few seconds
  python -m ktask bench --json          for scripts
"""


def main(arguments: list[str] | None = None) -> int:
    """Does what the command line says; returns the exit code."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end
    try:
        try:
            return run(parser().parse_args(arguments))
        finally:
            sys.stdout.flush()  # while there is somebody to tell that it failed
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        drop_output()
        return UNREAD
    except OSError as error:
        drop_output()
        where = "the output" if error.filename is None else repr(error.filename)
        print(f"python -m ktask: cannot write {where}: {error.strerror}", file=sys.stderr)
        return FAILED


def run(options: argparse.Namespace) -> int:
    """One command; help if none is named."""
    if "command" in options:
        return int(options.command(options))
    print(parser().format_help(), end="")
    return DONE


def drop_output() -> None:
    """What is left in the buffer must go somewhere when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Parser(argparse.ArgumentParser):
    """Help that cannot be written is an error, like all else; argparse would say nothing, and exit with 0."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    layout = argparse.RawDescriptionHelpFormatter
    whole = Parser(
        prog="python -m ktask",
        description="Runs long loops on all the CPUs that are really free.",
        epilog=EXAMPLES,
        formatter_class=layout,
    )
    whole.add_argument("--version", action="version", version=f"ktask {ktask.__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND")

    def add(
        name: str, does: str, examples: str, command: Callable[[argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=does, description=f"{does[0].upper()}{does[1:]}.", epilog=examples, formatter_class=layout
        )
        added.set_defaults(command=command)
        return added

    demo = add("demo", "do some jobs serially and with ktask, and compare", DEMO_EXAMPLES, run_demo)
    demo.add_argument("--quick", action="store_true", help="small sizes, to see that everything works")
    demo.add_argument("--output", metavar="DIR", type=Path, default=Path(), help="for the pictures (default: here)")

    info = add("info", "tell what ktask sees of this machine", INFO_EXAMPLES, run_info)
    info.add_argument("--json", action="store_true", help="as a JSON object")
    info.add_argument("--svg", metavar="FILE", type=Path, help="draw the NUMA nodes, their CPUs and distances")

    top = add("top", "show which processes have helpers at work", TOP_EXAMPLES, run_top)
    top.add_argument("--once", action="store_true", help="show it once, instead of until Ctrl-C")
    top.add_argument("--json", action="store_true", help="as a JSON object (on a line of its own, each time)")
    top.add_argument("--every", metavar="SECONDS", type=seconds, default=1.0, help="how often (default: 1)")

    trace = add("trace", "run a Python program, and show what each thread did when", TRACE_EXAMPLES, run_trace)
    trace.add_argument(
        "-o", "--output", metavar="NAME", default="trace", help="of the files, without .json (default: trace)"
    )
    trace.add_argument("--png", action="store_true", help="a PNG as well (needs matplotlib)")
    trace.add_argument(
        "--json", action="store_true", help="the summary as a JSON object, in the last line of the output"
    )
    trace.add_argument(
        "--events",
        metavar="N",
        type=count,
        default=1 << 18,
        help="room for so many, of 64 bytes each (default: 262144)",
    )
    trace.add_argument(
        "-m",
        dest="module",
        metavar="MODULE ...",
        nargs=argparse.REMAINDER,
        help="run a module, with the arguments that follow",
    )
    trace.add_argument("program", metavar="PROGRAM ...", nargs=argparse.REMAINDER, help="the program and its arguments")

    bench = add("bench", "measure what ktask is worth on this machine", BENCH_EXAMPLES, run_bench)
    bench.add_argument("--json", action="store_true", help="as a JSON object")
    bench.add_argument("--quick", action="store_true", help="fewer rounds, and so rougher figures")
    return whole


def run_demo(options: argparse.Namespace) -> int:
    """The ``demo`` command."""
    try:
        from ktask._demo import demo
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("numpy", "matplotlib", "rich"):
            raise
        print(f"The demo needs {missing}: pip install 'ktask[demo]'", file=sys.stderr)
        return BAD_USAGE
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"The pictures cannot be written: {error}", file=sys.stderr)
        return BAD_USAGE
    return demo(options.output, quick=options.quick)


def run_info(options: argparse.Namespace) -> int:
    """The ``info`` command."""
    described = ktask.info()
    if options.svg:
        return draw(described, options.svg)
    if options.json:
        print(json.dumps(described, indent=2))
    else:
        print(f"ktask {described['version']}. {sentence(described)}\n")
        print_table(("", ""), facts(described))
    return DONE


def seconds(text: str) -> float:
    """A time to wait from the command line; argparse tells about a ValueError."""
    value = float(text)
    if not 0.05 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"must be from 0.05 to 3600, not {text}")
    return value


def run_top(options: argparse.Namespace) -> int:
    """The ``top`` command."""
    from ktask._top import top

    return top(once=options.once, as_json=options.json, every=options.every)


def count(text: str) -> int:
    """A number of events from the command line."""
    value = int(text)
    if not 1 <= value <= 1 << 28:
        raise argparse.ArgumentTypeError(f"must be from 1 to {1 << 28}, not {text}")
    return value


def run_trace(options: argparse.Namespace) -> int:
    """The ``trace`` command."""
    from ktask._trace_program import trace_program

    arguments = options.module or options.program
    if not arguments:
        print("ktask trace: which program? Such as: python -m ktask trace prog.py", file=sys.stderr)
        return BAD_USAGE
    return trace_program(
        arguments,
        is_module=bool(options.module),
        output=options.output,
        png=options.png,
        as_json=options.json,
        capacity=options.events,
    )


def run_bench(options: argparse.Namespace) -> int:
    """The ``bench`` command."""
    from ktask._bench import bench

    return bench(as_json=options.json, quick=options.quick)


def draw(described: dict[str, Any], file: Path) -> int:
    """Draws what is described."""
    from ktask._picture import picture

    if "nodes" not in described:
        print("This build of ktask has no threads, and knows nothing of the machine.", file=sys.stderr)
        return BAD_USAGE
    try:
        file.write_text(picture(described))
    except OSError as error:
        print(f"The picture cannot be written: {error}", file=sys.stderr)
        return BAD_USAGE
    return DONE


def facts(described: dict[str, Any]) -> list[tuple[str, str]]:
    """What is known, as names and values for people; a build without threads knows little of the machine."""
    environment = " ".join(map(setting, described["environment"].items()))
    lines = [*machine(described), *pool(described)] if "nodes" in described else []
    if described["memory_bytes"] is not None:
        lines += [
            ("Memory", f"{described['memory_bytes'] / (1 << 30):.1f} GiB"),
            ("Load", f"{described['load']:.1f} in the last minute"),
        ]
    return [*lines, ("Nice", str(described["nice"])), ("Environment", environment or "no KTASK variables")]


NUMBERS = ("KTASK_HELPERS", "KTASK_MAX_HELPERS", "KTASK_WAKE_NS")


def setting(item: tuple[str, str]) -> str:
    """A variable of the environment, and whether it counts for nothing (csrc/environment.h)."""
    name, value = item
    ignored = name in NUMBERS and value and not re.fullmatch(r"\s*\+?[0-9]+", value)
    return f"{name}={value}" + (" (ignored: not a number from 0 on)" if ignored else "")


def machine(described: dict[str, Any]) -> list[tuple[str, str]]:
    """CPUs, and what keeps this process from having all of them."""
    online, allowed, quota = described["cpus"], described["allowed_cpus"], described["quota"]
    sizes = sorted({len(core) for core in described["cores"]})
    a_core = f"{' or '.join(map(str, sizes))} thread{'s' if sizes[-1] > 1 else ''} a core"
    nodes = described["nodes"]
    return [
        ("CPUs", f"{spans(online)}; this process may use {spans(allowed) if allowed != online else 'all'}"),
        ("Cores", f"{len(described['cores'])}, {a_core}"),
        *[(f"NUMA node {n['id']}", f"CPUs {spans(n['cpus'])}{distances(n)}") for n in nodes[:SHOWN]],
        *([("", f"and {len(nodes) - SHOWN} more nodes")] if len(nodes) > SHOWN else []),
        ("CPU quota", f"{quota['cpus']:g} CPUs, from {quota['path']}" if quota else "none"),
        ("Power", power(described["power"])),
    ]


SHOWN = 32


def distances(node: dict[str, Any]) -> str:
    """How far other nodes are."""
    values = sorted({distance for nid, distance in node["distances"].items() if nid != str(node["id"])})
    return f"; others at {', '.join(map(str, values))}" if values else ""


def power(policy: dict[str, Any]) -> str:
    """What the system says of power, and what that means."""
    names = {"driver": "", "governor": "governor ", "preference": "preference ", "profile": "platform profile "}
    said = ", ".join(f"{name}{policy[key]}" for key, name in names.items() if policy[key])
    if not policy["saves"]:
        return f"{said or 'no policy'}: helpers may work"
    return f"{said}: helpers {'may work, as KTASK_POWER says' if policy['ignored'] else 'stay asleep'}"


def pool(described: dict[str, Any]) -> list[tuple[str, str]]:
    """Helpers and what they cost."""
    nice = "may be raised again" if described["privileged"] else "may not be raised again"
    return [
        ("Helpers", f"{described['max_helpers']} at most, {described['running_helpers']} at work"),
        ("Shared by", shared_by(described["table"])),
        ("Priorities", f"{nice} by this process, once lowered"),
        (
            "Waking one",
            f"counts as {described['wake_ns'] / 1e3:.1f} us, and {described['answer_ns'] / 1e3:.1f} us until it "
            "comes; runs measure it as they go",
        ),
    ]


def shared_by(table: dict[str, Any]) -> str:
    """Whom this process counts, when it starts helpers."""
    if table["joined"]:
        return f"all processes that use {table['path']}"
    if table["reason"]:
        return f"this process alone ({table['reason']})"
    return f"all processes that use {table['path']}, once this one needs a helper"


def spans(numbers: list[int]) -> str:
    """Sorted numbers in the way of Linux: 0-3,8."""
    parts: list[list[int]] = []
    for n in numbers:
        if parts and n == parts[-1][-1] + 1:
            parts[-1][1:] = [n]
        else:
            parts.append([n])
    return ",".join("-".join(map(str, part)) for part in parts) or "none"


if __name__ == "__main__":
    sys.exit(main())

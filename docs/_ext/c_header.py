# SPDX-License-Identifier: BSD-3-Clause
"""The directive `c-header`: shows declarations of a C header, each with the comment that stands before it.

    .. c-header:: ktask.h
       :inner: ktask_tile_of

       ktask_run ktask_run_numa

The argument is a file of csrc/include/, the words below are what to show of it; without any, it is the header's first
comment. `inner` names what users need not know. All other declarations have to be shown somewhere: what is missing is a
warning, as is what is named but not there.

How a header has to be written: a comment belongs to what follows it without an empty line, one declaration or several.
In a comment, what is indented by a tab's width is code, and a line of two spaces and an error's name tells of it.
What `#else /* !CONFIG_KTASK */` begins is the same again, for builds without threads, and left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

INCLUDE = Path(__file__).parents[2] / "csrc" / "include"
SERIAL = re.compile(r"^#else /\* !CONFIG_KTASK \*/$.*?^#endif /\* CONFIG_KTASK \*/$", re.MULTILINE | re.DOTALL)

# One block of a header at a time, by what it begins with; in a comment, code may have comments in it.
BLOCK = re.compile(
    r"""
    (?P<comment> /\* (?: [^\n]*?\*/\n | \n.*?^[ ]\*/\n ))
  | (?P<macro> \#define[ ] (?P<macro_name>\w+) (?P<parameters>\([^)]*\))? (?: [^\n]*\\\n )* [^\n]*\n )
  | (?P<struct> (?P<kind>struct|enum)[ ] (?P<struct_name>\w+) [ ]\{\n .*?^\};\n )
  | (?P<inline> static[ ]inline[ ] (?P<head>[^{]*?)\n \{\n .*?^\}\n )
  | (?P<prototype> (?!\#|extern|\}) (?P<signature>\w[^;{]*);[^\n]*\n )
  | (?P<gap> \n )
  | (?P<other> [^\n]*\n )
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)

logger = logging.getLogger(__name__)


@dataclass
class Entry:
    """Declarations that share a comment: lines of Sphinx's C domain, such as "function:: int f(void)"."""

    comment: str
    declared: dict[str, str]  # by name
    code: str = ""  # of a structure: its members and their comments


def text_of(comment: str) -> str:
    """What a comment says, without its stars."""
    lines = comment.strip().removeprefix("/*").removesuffix("*/").split("\n")
    return "\n".join(re.sub(r"^ \* ?", "", line).rstrip() for line in lines).strip("\n").strip(" ")


def intro_of(header: str) -> str:
    """The first comment after the licence's."""
    comments = (text_of(m[0]) for m in BLOCK.finditer(source_of(header)) if m["comment"])
    text = next(text for text in comments if text.startswith(f"{header}: ")).removeprefix(f"{header}: ")
    return text[0].upper() + text[1:]


def source_of(header: str) -> str:
    """The header without its serial half."""
    return SERIAL.sub("", (INCLUDE / header).read_text(encoding="utf-8"))


def entries_of(header: str) -> Iterator[Entry]:
    """What the header declares, in its order."""
    comment, entry = "", None
    for m in BLOCK.finditer(source_of(header)):
        if m["gap"]:
            comment, entry = "", None
        elif m["comment"]:
            comment, entry = text_of(m[0]), None
        elif m["struct"]:
            yield Entry(comment, {m["struct_name"]: f"{m['kind']}:: {m['struct_name']}"}, m[0])
            comment = ""
        elif not m["other"] and not (m["macro"] and re.search(r"_H$|^CONFIG_KTASK$", m["macro_name"])):
            name, line = declared(m)
            if entry is None:
                entry = Entry(comment, {})
                yield entry  # the declarations that follow at once are added to it before it is used
            entry.declared[name] = line


def declared(m: re.Match[str]) -> tuple[str, str]:
    """The name that a block declares, and its line in the C domain."""
    if m["macro"]:
        return m["macro_name"], f"macro:: {m['macro_name']}{m['parameters'] or ''}"
    signature = " ".join((m["head"] or m["signature"]).split())
    if signature.startswith("typedef "):
        name = re.search(r"\(\*(\w+)\)", signature)
        return name[1] if name else signature, f"type:: {signature.removeprefix('typedef ')}"
    name = re.search(r"(\w+)\(", signature)
    return name[1] if name else signature, f"function:: {signature}"


# ---- as reStructuredText ----------------------------------------------------------------------------------------

WORD = re.compile(
    r"(?P<function>\b(?:ktask_|KTASK_|DEFINE_KTASK_)\w*[a-z]\(\))"
    r"|(?P<code>-?\b(?:[A-Z][A-Z0-9]*_\w*|KTASK(?==)|E(?:2BIG|[A-Z]{4,})|k[a-z]{1,2}_\w+|ktask_\w+|\w+\(\d?\)|void \*)"
    r"(?:=\w+)?)"
    r"|(?P<special>[*`|\\])"
)


def marked_up(text: str) -> str:
    """Names as code, and nothing else that reStructuredText would take for markup."""

    def mark(m: re.Match[str]) -> str:
        if m["function"]:
            return f":c:func:`{m[0].removesuffix('()')}`"
        return f"``{m[0]}``" if m["code"] else "\\" + m[0]

    return WORD.sub(mark, text)


def paragraphs(comment: str) -> list[str]:
    """A comment's lines in reStructuredText."""
    out: list[str] = []
    kind = "text"
    for line in comment.split("\n"):
        error = re.match(r"  (-E\w+)\s+(.*)", line)
        if not line:
            out.append("")
        elif error:
            out += ["" for _ in range(kind != "error")] + [f"``{error[1]}``", f"   {marked_up(error[2])}"]
            kind = "error"
        elif line.startswith("        ") and kind != "error":
            out += [line[5:]] if kind == "code" else ["", ".. code-block:: c", "", line[5:]]
            kind = "code"
        elif line.startswith("   ") and kind == "error":
            out.append(f"   {marked_up(line.strip())}")
        else:
            out += [marked_up(line)] if kind == "text" else ["", marked_up(line)]
            kind = "text"
    return out


def written(entry: Entry) -> list[str]:
    """An entry in reStructuredText."""
    first, *others = entry.declared.values()
    head, signature = first.split(":: ", 1)
    out = [f".. c:{head}:: {signature}"]
    indent = " " * (len(head) + 8)
    out += [indent + other.split(":: ", 1)[1] for other in others]
    out += [""] + [f"   {line}" for line in paragraphs(entry.comment)] + [""]
    if entry.code:
        out += ["   .. code-block:: c", ""] + [f"      {line}" for line in entry.code.expandtabs(8).split("\n")] + [""]
    return out


class CHeader(SphinxDirective):
    """See the top of the file."""

    required_arguments = 1
    option_spec = {"inner": directives.unchanged}  # noqa: RUF012
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Writes what was asked for, and notes it."""
        header = self.arguments[0]
        self.env.note_dependency(str(INCLUDE / header))
        self.env.note_dependency(__file__)
        seen = self.env.__dict__.setdefault("c_header_shown", {}).setdefault(self.env.docname, {})
        shown = seen.setdefault(header, set())
        shown.update(self.options.get("inner", "").split())
        wanted = " ".join(self.content).split()
        lines = [] if wanted else paragraphs(intro_of(header))
        entries = list(entries_of(header))
        for name in wanted:
            found = [e for e in entries if name in e.declared]
            if not found:
                logger.warning("%s declares no %s", header, name, location=self.get_location())
            for entry in found:
                if not shown & entry.declared.keys():
                    lines += written(entry)
                shown.update(entry.declared)
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, source=header), 0, parent)
        return parent.children


def forget(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """What a page has shown, before it is read again."""
    env.__dict__.get("c_header_shown", {}).pop(page, None)


def check_complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Is every declaration of the headers on some page?"""
    pages = env.__dict__.get("c_header_shown", {}).values()
    for header in sorted({header for page in pages for header in page}):
        shown = set().union(*(page.get(header, set()) for page in pages))
        for entry in entries_of(header):
            missing = entry.declared.keys() - shown
            if missing:
                logger.warning("%s: %s is on no page (c-header)", header, ", ".join(sorted(missing)))


def setup(app: Sphinx) -> dict[str, bool]:
    """For Sphinx."""
    app.add_directive("c-header", CHeader)
    app.connect("env-purge-doc", forget)
    app.connect("env-check-consistency", check_complete)
    return {"parallel_read_safe": False, "parallel_write_safe": True}

# SPDX-License-Identifier: BSD-3-Clause
"""The directive `c-header`: shows declarations of a C header, each with the comment that stands before it.

    .. c-header:: ktask.h

       ktask_run ktask_run_numa

The argument is a file of csrc/include/, the words below are what to show of it; without any, it is the header's first
comment. With the option `rest` it is all that this page has not shown yet, but for what `inner` names, which users
need not know. What is named but not there is a warning.

How a header has to be written: a comment belongs to what follows it without an empty line, one declaration or several.
In a comment, what is indented by a tab's width is code, and a line of two spaces and an error's name tells of it.
What `#else /* !CONFIG_KTASK */` begins is the same again, for builds without threads, and left out.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
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
  | (?P<constants> enum[ ]\{ [^\n]* \};\n )
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


def entries_of(header: str) -> list[Entry]:
    """What the header declares, in its order."""
    entries: list[Entry] = []
    comment, entry = "", None
    for m in BLOCK.finditer(source_of(header)):
        if m["gap"]:
            comment, entry = "", None
        elif m["comment"]:
            comment, entry = text_of(m[0]), None
        elif m["struct"]:
            entries.append(Entry(comment, {m["struct_name"]: f"{m['kind']}:: {m['struct_name']}"}, m[0]))
            comment = ""
        elif m["constants"]:
            names = re.findall(r"[{,] (\w+)", m[0])
            entries.append(Entry(comment, {name: f"macro:: {name}" for name in names}, m[0]))
            comment = ""
        elif not m["other"] and not (m["macro"] and re.search(r"_H$|^CONFIG_KTASK$", m["macro_name"])):
            name, line = declared(m)
            if entry is None:
                entry = Entry(comment, {})
                entries.append(entry)
            entry.declared[name] = line
    return entries


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
    option_spec = {"inner": directives.unchanged, "rest": directives.flag}  # noqa: RUF012
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Writes what was asked for, and notes it."""
        header = self.arguments[0]
        self.env.note_dependency(str(INCLUDE / header))
        self.env.note_dependency(__file__)
        shown = self.env.temp_data.setdefault(f"c_header of {header}", set())
        shown.update(self.options.get("inner", "").split())
        names = {name: entry for entry in entries_of(header) for name in entry.declared}
        wanted = [name for name in names if name not in shown] if "rest" in self.options else self.names()
        lines = [] if wanted or "rest" in self.options else paragraphs(intro_of(header))
        for name in wanted:
            if name not in names:
                logger.warning("%s declares no %s", header, name, location=self.get_location())
            elif name not in shown:
                lines += written(names[name])
                shown.update(names[name].declared)
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, source=header), 0, parent)
        return parent.children

    def names(self) -> list[str]:
        """The words of its content."""
        return " ".join(self.content).split()


def setup(app: Sphinx) -> dict[str, bool]:
    """For Sphinx."""
    app.add_directive("c-header", CHeader)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

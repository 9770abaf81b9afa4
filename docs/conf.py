# SPDX-License-Identifier: BSD-3-Clause
"""The documentation site: `make docs` builds it into build/docs. index.md says which pages there are."""

import importlib
import inspect
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from sphinx.util import logging

import ktask

logger = logging.getLogger(__name__)

project = "ktask"
author = "the ktask authors"
copyright = author
version = release = ktask.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "c_header"]
exclude_patterns = ["_build"]

# Headings can be linked to as on GitHub, where the same pages are read.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
c_maximum_signature_line_length = 88
add_module_names = False

html_theme = "furo"
html_title = f"ktask {release}"
html_static_path = ["_static"]
html_css_files = ["ktask.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def drop_patterns_without_pages(app, docname, source):
    """Where index.md names `seeing*`, there need be no such page: its part of the project may not be there."""
    if docname == "index":
        lines = source[0].split("\n")
        source[0] = "\n".join(s for s in lines if not s.endswith("*") or any(Path(app.srcdir).glob(f"{s}.md")))


def add_names_without_a_place(app, docname, source):
    """A public name that python.md puts nowhere comes at its end."""
    if docname == "python":
        placed = re.findall(r"^\.\. auto\w+:: (\w+)$", source[0], re.MULTILINE)
        others = [name for name in ktask.__all__ if name not in placed]
        lines = [f".. auto{kind_of(getattr(ktask, name))}:: ktask.{name}" for name in others]
        if lines:
            source[0] += "\n".join(["", "## More", "", "```{eval-rst}", *lines, "```", ""])


def look_for_names_without_a_place(app, env):
    """A warning for each public name, of the Python modules and of the C library, that no page has."""
    placed = {name for domain in ("py", "c") for name, *_ in env.get_domain(domain).get_objects()}
    modules = (importlib.import_module(f"ktask.{name}") for name in ("dask", "joblib", "memory"))
    public = {f"{module.__name__}.{name}" for module in (ktask, *modules) for name in module.__all__}
    symbols = (Path(app.srcdir).parent / "csrc" / "libktask.map").read_text(encoding="utf-8")
    public.update(re.findall(r"\b(ktask_\w+);", symbols))
    for name in sorted(public - placed):
        logger.warning("no page of the reference has %s", name)


def kind_of(thing):
    """What autodoc calls it."""
    return "class" if inspect.isclass(thing) else "function" if callable(thing) else "data"


def setup(app):
    """For Sphinx."""
    app.connect("source-read", drop_patterns_without_pages)
    app.connect("source-read", add_names_without_a_place)
    app.connect("env-check-consistency", look_for_names_without_a_place)

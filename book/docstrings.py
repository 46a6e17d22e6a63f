"""Makes the API reference of the library's docstrings, which are plain text with `code` in it."""

import inspect
import re
from itertools import groupby

SECTION = re.compile(r"(Args|Returns|Raises|Yields|Example):$")
LONG_SIGNATURE = re.compile(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>")


def to_rest(app, what, name, obj, options, lines):
    """Change a docstring, line by line, before napoleon reads its sections."""
    sections = [i for i, line in enumerate(lines) if SECTION.match(line)]
    start = sections[0] if sections else len(lines)
    lines[:] = [*mark_formulas(lines[:start]), *map(escape, lines[start:])]
    if what == "module":
        lines += list_constants(obj)
    if what == "data":
        lines.clear()  # it is the docstring of the constant's type


def mark_formulas(lines):
    """Set the indented lines of a description apart, as they are: formulas and code."""
    marked = []
    for indented, block in groupby(lines, key=lambda line: line.startswith("    ")):
        marked += [".. code-block:: none", ""] if indented else []
        marked += [line if indented else escape(line) for line in block]
    return marked


def list_constants(module):
    """Name a module's public constants, which autodoc leaves out; with their values, if short."""
    lines = []
    for name in module.__all__:
        value = getattr(module, name)
        if not (inspect.isroutine(value) or inspect.isclass(value)):
            lines += ["", f".. autodata:: {module.__name__}.{name}"]
            lines += ["   :no-value:"] if len(repr(value)) > 100 else []
    return [*lines, ""]


def escape(line):
    """Keep the signs of formulas outside of `code` from being read as markup."""
    return re.sub(r"(`[^`]*`)|([*|])", lambda m: m[1] or "\\" + m[2], line)


def hide_fields(app, what, name, obj, skip, options):
    """Leave out the fields of a class, which its docstring describes as arguments."""
    if what == "class" and not (inspect.isroutine(obj) or isinstance(obj, property)):
        return True
    return None  # as it would be otherwise


def mend_signatures(app, page, template, context, doctree):
    """Turn the parameters of a long signature, a list without terms, into lines."""
    context["body"] = LONG_SIGNATURE.sub(
        lambda m: m[1].replace("dd>", "span>").replace("<span>", '<span class="sig-line">'),
        context.get("body", ""),
    )


def setup(app):
    """Come before napoleon (whose priority is 500)."""
    app.connect("autodoc-process-docstring", to_rest, priority=100)
    app.connect("autodoc-skip-member", hide_fields)
    app.connect("html-page-context", mend_signatures)
    return {"parallel_read_safe": True}

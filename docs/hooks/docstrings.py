r"""Docstrings for the API pages: formulas rendered, overriding methods shown once.

Two Griffe extensions change the docstrings before mkdocstrings renders them. Sphinx's `:math:` and
`.. math::` become LaTeX between \(...\) and \[...\], which KaTeX renders in the browser. A MkDocs
hook fails the build if the source of a formula is left anywhere in the site.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError

INLINE = re.compile(r":math:`([^`]+)`")
BLOCK = re.compile(r"^( *)\.\. math::(.*(?:\n(?:\1 +\S.*| *(?=\n)))*)", re.MULTILINE)
LINE = re.compile(r"^( *)\| (?!.*\|\s*$)", re.MULTILINE)
RAW = (":math:", ".. math::")


def markdown(text: str) -> str:
    r"""`text` with formulas as \(...\) or \[...\], and Sphinx's line blocks as paragraphs."""
    text = LINE.sub(r"\1", text)
    return INLINE.sub(lambda m: rf"\({' '.join(m[1].split())}\)", BLOCK.sub(_display, text))


def _display(match: re.Match[str]) -> str:
    indent, source = match[1], " ".join(match[2].split())
    if r"\\" in source or "&" in source:  # several lines, as Sphinx reads them
        source = rf"\begin{{aligned}} {source} \end{{aligned}}"
    return f"\n{indent}\\[{source}\\]\n"


class Formulas(griffe.Extension):
    """Rewrites the formulas of every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by Griffe for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


class Overrides(griffe.Extension):
    """Leaves methods out of a class where a class that it derives from documents them."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Called by Griffe once all of the package is loaded."""
        for cls in _classes(pkg):
            inherited = {name for base in cls.mro() for name in base.members}
            for name, member in cls.members.items():
                if name in inherited and not member.is_alias:
                    member.docstring = None


def _classes(parent: griffe.Module) -> Iterator[griffe.Class]:
    for member in parent.members.values():
        if isinstance(member, griffe.Class):
            yield member
        elif isinstance(member, griffe.Module):
            yield from _classes(member)


def on_post_build(config: MkDocsConfig) -> None:
    """Fail if a page shows the source of a formula."""
    pages = sorted(Path(config.site_dir).rglob("*.html"))
    raw = [str(page) for page in pages if any(mark in page.read_text() for mark in RAW)]
    if raw:
        raise PluginError(f"raw formulas ({' or '.join(RAW)}) in {', '.join(raw)}")

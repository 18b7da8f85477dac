"""Summary tables of the API: one line for each object a page documents, and all pages in one.

The line is the first one of the docstring, so that the tables follow the code.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import docstrings
import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

OBJECT = re.compile(r"^::: (\S+)", re.MULTILINE)
HERE, ALL = "<!-- summary -->", "<!-- all pages -->"


@cache
def _package(source: Path) -> griffe.Object | griffe.Alias:
    return griffe.load("reddiff", search_paths=[source], resolve_aliases=True)


def _line(source: Path, path: str) -> str:
    docstring = _package(source)[path.removeprefix("reddiff.")].docstring
    if docstring is None:
        raise ValueError(f"{path} has no docstring to summarize")
    line = docstrings.markdown(" ".join(docstring.value.split("\n\n")[0].split()))
    return line.replace(r"\|", r"\Vert ").replace("|", r"\|")  # a bare | ends the cell


def _table(source: Path, markdown: str) -> str:
    rows = (
        f"| [`{path.split('.')[-1]}`][{path}] | {_line(source, path)} |"
        for path in OBJECT.findall(markdown)
    )
    return "\n".join(("| name | what it is |", "|---|---|", *rows))


def _leaves(nav: Any) -> Iterator[str]:
    """The pages of a part of the navigation, in its order."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _leaves(part)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the tables where a page asks for them."""
    source = Path(config.config_file_path).parent / "src"
    if HERE in markdown:
        return markdown.replace(HERE, _table(source, markdown))
    if ALL in markdown:
        rows = ["| area | names |", "|---|---|"]
        for uri in _leaves(config.nav):
            file = files.get_file_from_path(uri)
            if file is not None and HERE in (text := file.content_string):
                title = text.splitlines()[0].removeprefix("# ")
                names = (f"[`{p.split('.')[-1]}`][{p}]" for p in OBJECT.findall(text))
                rows.append(f"| [{title}]({Path(uri).name}) | {', '.join(names)} |")
        return markdown.replace(ALL, "\n".join(rows))
    return markdown

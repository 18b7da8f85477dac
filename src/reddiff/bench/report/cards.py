"""Elements of the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reddiff.bench.summary import Cell


def card(content: str, title: str = "", kind: str = "figure", **data: object) -> str:
    """An element that the selections of the page show or hide, depending on its data."""
    named = "".join(f' data-{k}="{escape(str(v))}"' for k, v in data.items())
    head = f"<figcaption>{escape(title)}</figcaption>" if title else ""
    return f'<figure class="card {kind}"{named}>{head}{content}</figure>'


def data_of(cell: Cell, metric: str | None = None) -> dict[str, str]:
    """The data that determine whether a card is shown."""
    found = {"prior": cell.prior, "noise": f"{cell.noise:g}"}
    return found if metric is None else {**found, "metric": metric}


def plain_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of text, with a row header in its first column."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = []
    for first, *others in rows:
        rest = "".join(f"<td>{escape(str(v))}</td>" for v in others)
        lines.append(f'<tr><th scope="row">{escape(str(first))}</th>{rest}</tr>')
    body = f"<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return scrolled(f'<table class="plain">{body}</table>', head[0])


def scrolled(content: str, label: str) -> str:
    """An element that scrolls, also by keyboard, if it is wider than the page."""
    named = f'role="region" aria-label="{escape(label)}"'
    return f'<div class="scroll" tabindex="0" {named}>{content}</div>'

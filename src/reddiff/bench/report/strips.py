"""The pictures of the page: a strip for each measurement, up to a total size."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from html import escape

from reddiff.bench.measures import measure
from reddiff.bench.report.cards import card, data_of
from reddiff.bench.report.reading import Strip
from reddiff.bench.summary import Cell, Summary

MOST_BYTES = 24_000_000  # of all pictures of a page
BELOW = ("psnr", "lpips")  # metrics below each picture

Read = Callable[[Cell, str], Strip | None]


def picture_strips(
    summary: Summary, images: Mapping[Cell, Iterable[str]], read: Read, count: int
) -> str:
    """Truth, degraded picture and results of some images of every cell.

    The images are chosen by a hash of their names, so the choice does not depend on the results,
    and the same images are shown in every cell.

    Arguments:
        summary: The summary, for the numbers below the pictures.
        images: All images of every cell.
        read: Returns the pictures of a cell and an image.
        count: The number of images of each cell; fewer are shown if the total size is reached.
    """
    chosen = {cell: sorted(names, key=_hash)[:count] for cell, names in images.items()}
    parts: dict[Cell, str] = dict.fromkeys(chosen, "")
    spent, left = 0, 0
    for place in range(count):  # the first image of all cells, then the second
        for cell, names in chosen.items():
            strip = read(cell, names[place]) if place < len(names) else None
            if strip is None:
                continue
            size = sum(map(len, (strip.truth, strip.degraded, *strip.restored.values())))
            if spent + size > MOST_BYTES:
                left += 1
                continue
            spent += size
            parts[cell] += _strip(summary, cell, names[place], strip)
    cards = "".join(
        card(rows, f"{cell.task} · noise {cell.noise:g}", "strips", **data_of(cell))
        for cell, rows in parts.items()
        if rows
    )
    if left:
        limit = f"{MOST_BYTES / 1e6:g} MB"
        cards += f'<p class="note">{left} more images were left out: the limit is {limit}.</p>'
    return cards


def _strip(summary: Summary, cell: Cell, image: str, strip: Strip) -> str:
    about = f"{cell.task}, noise {cell.noise:g}, {image}"
    parts = [
        _thumb("truth", strip.truth, about, image),
        _thumb("degraded", strip.degraded, about, ""),
    ]
    for i, solver in enumerate(summary.solvers):
        if solver in strip.restored and strip.restored[solver] != strip.degraded:
            numbers = _numbers(summary, cell, image, solver)
            parts.append(_thumb(solver, strip.restored[solver], about, numbers, i))
    name = f'role="group" aria-label="{escape(about)}"'
    return f'<div class="strip scroll" {name}>{"".join(parts)}</div>'


def written_below(summary: Summary) -> str:
    """A sentence with the metrics below each picture, empty if there are none."""
    names = [measure(m).label for m in BELOW if m in summary.metrics]
    return f"{' / '.join(names)} below each picture. " if names else ""


def _thumb(name: str, png: bytes, about: str, below: str, index: int | None = None) -> str:
    source = f"data:image/png;base64,{b64encode(png).decode()}"
    solver = "" if index is None else f' data-solver="{index}"'
    alt = f"{name}: {about}" + (f", {below}" if index is not None and below else "")
    return (
        f'<button type="button" class="thumb"{solver}><span class="lens">'
        f'<img src="{source}" alt="{escape(alt)}" loading="lazy"></span>'
        f"<b>{escape(name)}</b><small>{escape(below)}</small></button>"
    )


def _numbers(summary: Summary, cell: Cell, image: str, solver: str) -> str:
    """What is written below one picture."""
    texts = []
    for metric in BELOW:
        entry = summary.get(cell, solver, metric)
        if entry is not None and image in entry.values:
            texts.append(measure(metric).text(entry.values[image]))
    return " / ".join(texts)


def _hash(name: str) -> str:
    return sha256(name.encode()).hexdigest()

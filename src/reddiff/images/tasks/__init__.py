"""The picture tasks. Each has a forward model, to simulate a degraded picture or to restore one.

Pixels are in [0, 1] here; solvers work on 2 pixels - 1, where noise levels are twice as large.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from reddiff.errors import InvalidArgument, lookup, require, require_name
from reddiff.images.tasks.base import NoiseSample, Pixels, Task
from reddiff.images.tasks.color import Colorize, Demosaic
from reddiff.images.tasks.custom import OWN, OwnTask, load_operator
from reddiff.images.tasks.linear import Deblur, Denoise, Inpaint, Sampling, SuperResolve
from reddiff.images.tasks.tone import HDR, Compressed, Quantized
from reddiff.images.words import integers, numbers, split_word
from reddiff.operators.jpeg.jpeg import JPEG
from reddiff.operators.mosaic import Bayer, BayerPattern
from reddiff.operators.resampling import Filter, bicubic, lanczos

__all__ = [
    "HDR",
    "TASKS",
    "Colorize",
    "Compressed",
    "Deblur",
    "Demosaic",
    "Denoise",
    "Inpaint",
    "NoiseSample",
    "OwnTask",
    "Pixels",
    "Quantized",
    "SuperResolve",
    "Task",
    "check_name",
    "load_operator",
    "make_task",
]

FILTERS: dict[str, Filter | Sampling | None] = {
    "mean": None,
    "bicubic": bicubic,
    "lanczos": lanczos,
    "nearest": Sampling.FIRST,
    "nearest-center": Sampling.MIDDLE,
}


PATTERNS = {pattern.value: pattern for pattern in BayerPattern}


@dataclass(frozen=True)
class TaskEntry:
    """A task with a name, for `--task`, records and `restore`.

    Arguments:
        summary: A description of the degraded picture.
        make: Makes the task from the text after the colon, if `word` is set, and from the parameter
            that it `needs`.
        needs: `mask`, `scale`, `kernel`, or None.
        word: A description of the text after the colon.
    """

    summary: str
    make: Callable[..., Task]
    needs: str | None = None
    word: str = ""


def _sr(word: str, scale: int) -> Task:
    return SuperResolve(scale, lookup(FILTERS, "task sr", word or "mean"))


def _demosaic(word: str) -> Task:
    return Demosaic(Bayer(lookup(PATTERNS, "task demosaic", word or "RGGB")))


def _hdr(word: str) -> Task:
    return HDR(*numbers("task", "hdr:CONTRAST", word or "2"))


def _quantize(word: str) -> Task:
    return Quantized(*integers("task", "quantize:LEVELS", word))


def _jpeg(word: str) -> Task:
    return Compressed(JPEG(*integers("task", "jpeg:QUALITY (or a .jpg file)", word)))


TASKS: dict[str, TaskEntry] = {
    "inpaint": TaskEntry("a picture with missing pixels", Inpaint, "mask"),
    "sr": TaskEntry(
        "a downsampled picture",
        _sr,
        "scale",
        "the filter: mean (default), bicubic, lanczos; nearest (img[::4, ::4], OpenCV) or "
        "nearest-center (Pillow)",
    ),
    "deblur": TaskEntry("a blurred picture", Deblur, "kernel"),
    "denoise": TaskEntry("a noisy picture", Denoise),
    "colorize": TaskEntry("a gray picture", Colorize),
    "demosaic": TaskEntry(
        "a raw picture with one color at each pixel",
        _demosaic,
        word="the color filter array: RGGB (default), BGGR, GRBG or GBRG",
    ),
    "hdr": TaskEntry(
        "a picture clipped at black and white", _hdr, word="the factor of contrast, 2 by default"
    ),
    "quantize": TaskEntry("a picture with few levels", _quantize, word="the number of levels"),
    "jpeg": TaskEntry(
        "a JPEG picture", _jpeg, word="the quality, 1 to 100 (not needed for a .jpg file)"
    ),
}


ALIASES = {"quantise": "quantize"}  # names of earlier versions, in records and scripts


def make_task(
    name: str, *, mask: Tensor | None = None, scale: int | None = None, kernel: Tensor | None = None
) -> Task:
    """The task of this name with its parameter, for command lines and records.

    Arguments:
        name: One of `TASKS`, with a text after a colon if it takes one, such as `jpeg:10`; or
            `FILE.py:NAME`, an operator of the user on pixels in [0, 1].
        mask: For `inpaint`.
        scale: For `sr`.
        kernel: For `deblur`.

    Raises:
        InvalidArgument: If the name is unknown, the task's parameter is missing, or a parameter is
            given that the task does not have.
    """
    given = {"mask": mask, "scale": scale, "kernel": kernel}
    if OWN.fullmatch(name):
        for parameter, value in given.items():
            require(value is None, parameter, expected="none for your own operator", got="one")
        return OwnTask(load_operator(name))
    check_name(name)
    kind, word = split_word(name)
    kind = ALIASES.get(kind, kind)
    entry = TASKS[kind]
    alone = word is None or bool(entry.word)
    require(alone, "task", expected=f"{kind} alone", got=_short(name))
    for parameter, value in given.items():
        if parameter == entry.needs and value is None:
            raise InvalidArgument(parameter, expected=f"one for the task {kind}", got="none")
        if parameter != entry.needs and value is not None:
            raise InvalidArgument(parameter, expected=f"none for the task {kind}", got="one")
    words = [word or ""] if entry.word else []
    return entry.make(*words, *([] if entry.needs is None else [given[entry.needs]]))


def check_name(name: str) -> None:
    """Check that a name is that of a task or `FILE.py:NAME`.

    Raises:
        InvalidArgument: If it is neither; the message lists the names of all tasks.
    """
    if OWN.fullmatch(name) is None:
        kind = split_word(name)[0]
        known = [*TASKS, kind] if kind in ALIASES else TASKS
        require_name(kind, known, "task", "a task, or FILE.py:NAME of an operator")


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:40]}..."

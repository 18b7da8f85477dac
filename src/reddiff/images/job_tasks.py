"""The task of a job, with the parameters in its file, and the size of the result."""

from __future__ import annotations

from reddiff.errors import require
from reddiff.images.arguments import refuse_parameters
from reddiff.images.io import MAX_PIXELS, Picture
from reddiff.images.jobs import Job
from reddiff.images.memory import require_memory
from reddiff.images.tasks import Compressed, Task, make_task
from reddiff.images.tasks.custom import OWN
from reddiff.operators.jpeg.jpeg import JPEG
from reddiff.operators.orientation import Orientation

PIXEL_BYTES = 150  # of memory per pixel of the result, at the least


def job_task(job: Job, picture: Picture) -> str | Task:
    """The task as an object, if the file defines more than its name does.

    For `jpeg`, the file defines the compression, or at least the orientation. The code of a user's
    operator is run once.
    """
    settings = job.settings
    name = str(settings.task)
    turned = picture.format == "JPEG" and picture.orientation != 1
    if name == "jpeg":
        refuse_parameters("the task jpeg", settings)
        return Compressed(JPEG.of(job.source))
    if name.startswith("jpeg:") and turned:
        refuse_parameters("the task jpeg", settings)
        task = make_task(name)
        if isinstance(task, Compressed):
            turn = Orientation(picture.orientation)
            return Compressed(JPEG(tables=task.codec.tables, orientation=turn))
    if not OWN.fullmatch(name):
        return name
    refuse_parameters("your own operator", settings)
    return make_task(name)


def result_size(task: str | Task, picture: Picture, scale: int) -> tuple[int, int]:
    """The height and width of the result."""
    if isinstance(task, Task) and not isinstance(task, Compressed):
        shape = task.problem(picture.pixels).x_shape
        return int(shape[-2]), int(shape[-1])
    height, width = picture.size
    return height * scale, width * scale


def check_size(size: tuple[int, int]) -> None:
    """Raise InvalidArgument if a result of this height and width does not fit in memory."""
    pixels, shown = size[0] * size[1], f"{size[1]}x{size[0]} pixels"
    expected = f"a result of at most {MAX_PIXELS} pixels"
    require(pixels <= MAX_PIXELS, "scale", expected=expected, got=shown)
    require_memory(PIXEL_BYTES * pixels, f"a result (of {shown})")

"""An animation of the estimates of a run."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from reddiff.files import check_target
from reddiff.images.io import as_picture


class Animation:
    """Collects estimates for one animated WebP, which `runs.run` writes.

    Arguments:
        path: The file. Its folder is made when it is written.
        side: Larger frames are shrunk to this side.
        frames: About how many frames are kept; later ones replace every other earlier one.
        force: Accept a file that exists.

    Raises:
        PictureError: If the file exists and `force` is not given, or cannot be written.
    """

    def __init__(
        self, path: Path, *, side: int = 512, frames: int = 60, force: bool = False
    ) -> None:
        check_target(path, force=force, parents=True)
        self.path, self.side, self.frames = path, side, frames
        self._every = 1
        self._frames: list[Image.Image] = []

    def add(self, step: int, pixels: Float[Tensor, "c h w"]) -> None:
        """Add the estimate in [0, 1] after `step` steps."""
        if step % self._every:
            return
        frame = replace(as_picture(pixels), bits=8).to_pil().convert("RGB")
        frame.thumbnail((self.side, self.side))
        self._frames.append(frame)
        if len(self._frames) >= self.frames:
            self._frames = self._frames[1::2]
            self._every *= 2

    @property
    def empty(self) -> bool:
        """Whether it has no frame."""
        return not self._frames

    def encoded(self) -> bytes:
        """The animation as a file; the last frame stays for a second."""
        first, *rest = self._frames
        buffer = BytesIO()
        duration = [80] * len(rest) + [1000]
        first.save(buffer, "WEBP", save_all=True, append_images=rest, duration=duration, loop=0)
        return buffer.getvalue()

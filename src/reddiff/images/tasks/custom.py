"""Tasks defined by a user: an operator, or a Python file that defines one."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reddiff.errors import InvalidArgument, ReddiffError, require
from reddiff.images.gray import on_gray
from reddiff.images.tasks.base import Pixels, Task
from reddiff.interop.deepinv import physics_operator
from reddiff.operators import LinearOperator, Operator, from_linear_operator, from_matrix
from reddiff.operators.base import Shape
from reddiff.operators.custom import operator as as_operator
from reddiff.units import FromPixels

OWN = re.compile(r"(.+\.py):(\w+)")


def load_operator(text: str, shape: Shape | None = None) -> Operator:
    """The operator that `FILE.py:NAME` names. Runs the file.

    Arguments:
        text: The file, and a name in it: an operator, or an object from which one can be made (a
            function, a module, a matrix, an operator on vectors, or a deepinv physics). A function
            is validated on random pixels.
        shape: The shape of one x. By default, a function is assumed to take color pictures of any
            size and to keep the size.

    Raises:
        InvalidArgument: If the file or name does not exist, the file fails, or the object is not an
            operator.
    """
    match = OWN.fullmatch(text)
    if match is None or not Path(match[1]).is_file():
        raise InvalidArgument("operator", expected="FILE.py:NAME of an existing file", got=text)
    path, name = Path(match[1]), match[2]
    spec = importlib.util.spec_from_file_location(f"_reddiff_{path.stem}", path)
    assert spec is not None  # noqa: S101 - a .py file has one
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the file must not end the program
        got = f"{type(error).__name__}: {error}"
        raise InvalidArgument("operator", expected=f"{path} to run", got=got) from error
    public = sorted(n for n in vars(module) if not n.startswith("_"))
    expected = f"a name in {path}: {', '.join(public)}"
    require(hasattr(module, name), "operator", expected=expected, got=name)
    return _made(getattr(module, name), shape)


def _made(found: Any, shape: Shape | None) -> Operator:
    if isinstance(found, type):
        got = f"the class {found.__name__}; name an object of it"
        raise InvalidArgument("operator", expected="an operator or a function", got=got)
    if isinstance(found, Tensor | np.ndarray) or hasattr(found, "tocoo"):
        return from_matrix(found)
    if hasattr(found, "matvec"):
        return from_linear_operator(found)
    if not isinstance(found, Operator) and callable(getattr(found, "A", None)):
        return physics_operator(found)
    if isinstance(found, Operator) or not callable(found):
        return as_operator(found)
    pixels = torch.rand(2, *(shape or (3, 64, 64)), generator=torch.Generator().manual_seed(0))
    return as_operator(found, x_shape=_same if shape is None else shape, example=pixels)


def _same(y_shape: Shape) -> Shape:
    return y_shape


@dataclass(frozen=True, eq=False)
class OwnTask(Task):
    """The task of an operator on pictures `(1, c, h, w)` in [0, 1].

    Arguments:
        model: The operator, on pixels in [0, 1].
    """

    model: Operator

    name = "own"

    def _forward(self, x: Pixels) -> Pixels:
        """A(x).

        Raises:
            InvalidArgument: If the result is not a picture.
        """
        y: Tensor = self._for(x)(x[None])
        picture = y.ndim == 4 and y.shape[1] in (1, 3)
        expected = "an operator to pictures (1, 1 or 3, h, w)"
        require(picture, "operator", expected=expected, got=tuple(y.shape))
        return y[0]

    def _operator(self, y: Pixels) -> Operator:
        model = self._for(y)
        if isinstance(model, LinearOperator):
            return model  # 2 y - A(1) = A(2 x - 1)
        return _FromUnits() @ model @ FromPixels()

    def _measurement(self, y: Pixels) -> Pixels:
        """y shifted, if A is linear, so that 2 y - 1 = A(2 x - 1)."""
        model = self._for(y)
        if not isinstance(model, LinearOperator):
            return y
        with torch.no_grad():
            white = model(y.new_ones(1, *model.x_shape(tuple(y.shape))))[0]
        return y - (white - 1) / 2

    def _for(self, y: Pixels) -> Operator:
        """A for pictures with the channels of y."""
        return on_gray(self.model, y) if len(y) == 1 else self.model


class _FromUnits(Operator):
    """y -> 2 y - 1: from [0, 1] to [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x - 1

    def x_shape(self, y_shape: Shape) -> Shape:
        return y_shape


@contextmanager
def blamed(task: str) -> Iterator[None]:
    """Turn exceptions in `FILE.py:NAME`, and its attempts to exit, into a one-line error.

    Arguments:
        task: The task; nothing is done unless it is such a file.

    Raises:
        InvalidArgument: With the file, the line and the error.
    """
    own = OWN.fullmatch(task)
    try:
        yield
    except ReddiffError:
        raise
    except (Exception, SystemExit) as error:
        if own is None:
            raise
        file = os.path.realpath(own[1])
        lines = [
            line
            for frame, line in walk_tb(error.__traceback__)
            if os.path.realpath(frame.f_code.co_filename) == file
        ]
        if not lines and not isinstance(error, SystemExit):
            raise
        where = f" in line {lines[-1]}" if lines else ""
        got = f"{type(error).__name__}{where}: {error}"
        raise InvalidArgument("operator", expected=f"{own[1]} to run", got=got) from error

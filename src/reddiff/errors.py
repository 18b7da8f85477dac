"""Every exception the library raises on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, TypeVar

Value = TypeVar("Value")

FEW = 8  # names that fit a line
LONGEST = 600  # characters of a value in a message


class ReddiffError(Exception):
    """The base of all errors raised on purpose: catch this one to catch them all.

    They go through `pickle` and `copy` with all they hold, so that they cross the border of a
    process. What is neither a number nor a text arrives as text.
    """

    def __reduce__(self) -> tuple[Callable[..., ReddiffError], tuple[Any, ...]]:
        """Made anew from what it holds, and not from the arguments of its `__init__`."""
        held = {name: _portable(value) for name, value in vars(self).items()}
        return _rebuilt, (type(self), tuple(_portable(a) for a in self.args), held)


class InvalidArgument(ReddiffError, ValueError):
    """An argument that cannot be used: its name, what was expected, and what came.

    Arguments:
        argument: The name of the argument, as the caller wrote it.
        expected: What would have been accepted, in words.
        got: What came instead.
    """

    def __init__(self, argument: str, *, expected: str, got: object) -> None:
        super().__init__(f"{argument}: expected {expected}, got {shown(got)}")
        self.argument, self.expected, self.got = argument, expected, got


class Unsupported(ReddiffError, TypeError):
    """A combination of solver, operator, noise and prior that the method has no theory for."""


class SnapshotError(ReddiffError):
    """A snapshot that is damaged, or belongs to another solver, version or problem."""


class WeightsError(ReddiffError):
    """A weights file that is not safetensors, or does not fit the network it is for."""


class PictureError(ReddiffError):
    """A file of a picture, mask or kernel that cannot be read or written.

    Arguments:
        path: The file.
        expected: What would have been accepted, in words.
        got: What came instead.
        errno: The operating system's number of the error, where it was the one to refuse: the
            file is missing, may not be read, the disk is full, ...
    """

    def __init__(
        self, path: object, *, expected: str, got: object, errno: int | None = None
    ) -> None:
        super().__init__(f"{path}: expected {expected}, got {shown(got)}")
        self.path, self.expected, self.got, self.errno = path, expected, got, errno


class Diverged(ReddiffError):
    """A run that diverged: a value became NaN or inf, and there is no result."""


class RecordError(ReddiffError):
    """A record that is damaged, or whose inputs, weights or pixels are no longer the same."""


class CalibrationError(ReddiffError):
    """A calibration file that is damaged, or of other settings than those it is used with."""


def shown(value: object) -> str:
    """A value as one line of a message, cut where it is long."""
    try:
        text = " ".join(str(value).split())
    except ValueError:  # Python refuses to write integers of many thousand digits
        text = f"an integer of {int.bit_length(value) if isinstance(value, int) else 'many'} bits"
    if len(text) <= LONGEST:
        return text or "''"
    half = LONGEST // 2
    return f"{text[:half]} ... {text[-half:]} ({len(text)} characters)"


def _portable(value: object) -> object:
    """A value that any process can read: numbers, texts and tuples of them; else its text."""
    if type(value) is list:
        return [_portable(v) for v in value]
    if isinstance(value, tuple):
        return tuple(map(_portable, value))
    plain = value is None or type(value) in (bool, int, float, complex, str, bytes)
    return value if plain else str(value)


def _rebuilt(kind: type[ReddiffError], args: tuple[Any, ...], held: dict[str, Any]) -> ReddiffError:
    error = BaseException.__new__(kind, *args)
    error.args = args
    vars(error).update(held)
    return error


def require(condition: bool, argument: str, *, expected: str, got: object) -> None:
    """Raise `InvalidArgument` unless the condition holds."""
    if not condition:
        raise InvalidArgument(argument, expected=expected, got=got)


def require_count(argument: str, value: object, least: int = 1) -> None:
    """Raise `InvalidArgument` unless the value is an integer of at least `least`."""
    good = isinstance(value, int) and not isinstance(value, bool) and value >= least
    require(good, argument, expected=f"an integer of at least {least}", got=repr(value))


def require_positive(argument: str, value: float) -> None:
    """Raise `InvalidArgument` unless the value is positive and finite."""
    require(0 < value < math.inf, argument, expected="a positive finite number", got=value)


def require_nonnegative(argument: str, value: float) -> None:
    """Raise `InvalidArgument` unless the value is nonnegative and finite."""
    require(0 <= value < math.inf, argument, expected="a finite value >= 0", got=value)


def require_share(argument: str, value: float) -> None:
    """Raise `InvalidArgument` unless the value is in [0, 1]."""
    require(0 <= value <= 1, argument, expected="a number from 0 to 1", got=value)


def require_name(name: str, known: Iterable[str], argument: str, what: str) -> None:
    """Raise `InvalidArgument` unless the name is known; the message offers the nearest one.

    Arguments:
        name: The name.
        known: The names there are.
        argument: What the name was given for.
        what: The kind of thing it names, with an article.
    """
    names = list(known)
    offered = nearest(name, names)
    if not offered or len(names) <= FEW:
        offered = f": {', '.join(names)}{offered}"
    require(name in names, argument, expected=f"{what}{offered}", got=name)


def lookup(table: Mapping[str, Value], argument: str, name: str) -> Value:
    """The entry of this name, or `InvalidArgument` with the names there are and the nearest."""
    if name not in table:
        expected = f"one of {', '.join(table)}{nearest(name, table)}"
        raise InvalidArgument(argument, expected=expected, got=name)
    return table[name]


def import_package(module: str, argument: str, extra: str) -> Any:
    """Import a module of a package that only an extra installs.

    Arguments:
        module: The module, such as `pyarrow.parquet`.
        argument: What needs it, for the message.
        extra: The extra of reddiff that installs it.

    Raises:
        InvalidArgument: If the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        expected = f"the package {package} (pip install 'reddiff[{extra}]')"
        raise InvalidArgument(argument, expected=expected, got=str(error)) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean NAME?)` with the nearest of the known names; empty if none is near."""
    near = get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""

"""The exceptions that the library raises deliberately, and validation of arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, SupportsFloat, TypeVar

Value = TypeVar("Value")

FEW = 8  # number of names listed in a message
LONGEST = 600  # largest number of characters of a value in a message


class ReddiffError(Exception):
    """Base class of all exceptions that the library raises deliberately.

    Instances can be pickled and copied with all attributes, and so passed between processes.
    Attributes that are neither numbers nor text are converted to text.
    """

    def __reduce__(self) -> tuple[Callable[..., ReddiffError], tuple[Any, ...]]:
        """Rebuild from the attributes, rather than from the arguments of `__init__`."""
        held = {name: _portable(value) for name, value in vars(self).items()}
        return _rebuilt, (type(self), tuple(_portable(a) for a in self.args), held)


class InvalidArgument(ReddiffError, ValueError):
    """An invalid argument. The message says its name, what was expected and what was given.

    Arguments:
        argument: The name of the argument.
        expected: A description of valid values.
        got: The value that was given.
    """

    def __init__(self, argument: str, *, expected: str, got: object) -> None:
        super().__init__(f"{argument}: expected {expected}, got {shown(got)}")
        self.argument, self.expected, self.got = argument, expected, got


class Unsupported(ReddiffError, TypeError):
    """A combination of solver, operator, noise and prior for which the method is not defined."""


class SnapshotError(ReddiffError):
    """A snapshot that is damaged, or that belongs to another solver, version or problem."""


class WeightsError(ReddiffError):
    """A file of weights that is not a safetensors file, or does not match the network."""


class PictureError(ReddiffError):
    """A file of an image, a mask or a kernel that cannot be read or written.

    Arguments:
        path: The file.
        expected: A description of valid files.
        got: What was found.
        errno: The error number of the operating system, if it refused access: the file does not
            exist, permission is denied, the disk is full, ...
    """

    def __init__(
        self, path: object, *, expected: str, got: object, errno: int | None = None
    ) -> None:
        super().__init__(f"{path}: expected {expected}, got {shown(got)}")
        self.path, self.expected, self.got, self.errno = path, expected, got, errno


class Diverged(ReddiffError):
    """A run that diverged: a value became NaN or inf, so that there is no result."""


class RecordError(ReddiffError):
    """A record that is damaged, or whose inputs, weights or pixels have changed."""


class CalibrationError(ReddiffError):
    """A calibration file that is damaged, or was made with other settings."""


def shown(value: object) -> str:
    """A value as a single line of text, shortened if it is long."""
    try:
        text = " ".join(str(value).split())
    except ValueError:  # Python limits the number of digits of integers
        text = f"an integer of {int.bit_length(value) if isinstance(value, int) else 'many'} bits"
    if len(text) <= LONGEST:
        return text or "''"
    half = LONGEST // 2
    return f"{text[:half]} ... {text[-half:]} ({len(text)} characters)"


def _portable(value: object) -> object:
    """A value that any process can unpickle: numbers, text and tuples of them; otherwise text."""
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
    good = isinstance(value, SupportsFloat) and not isinstance(value, bool) and 0 < value < math.inf
    require(good, argument, expected="a positive finite number", got=value)


def require_nonnegative(argument: str, value: float) -> None:
    """Raise `InvalidArgument` unless the value is nonnegative and finite."""
    require(0 <= value < math.inf, argument, expected="a finite value >= 0", got=value)


def require_share(argument: str, value: float) -> None:
    """Raise `InvalidArgument` unless the value is in [0, 1]."""
    require(0 <= value <= 1, argument, expected="a number from 0 to 1", got=value)


def require_name(name: str, known: Iterable[str], argument: str, what: str) -> None:
    """Raise `InvalidArgument` unless the name is known; the message suggests a similar one.

    Arguments:
        name: The name.
        known: The valid names.
        argument: The argument for which the name was given.
        what: The kind of object that it denotes, with an article.
    """
    names = list(known)
    offered = nearest(name, names)
    if not offered or len(names) <= FEW:
        offered = f": {', '.join(names)}{offered}"
    require(name in names, argument, expected=f"{what}{offered}", got=name)


def lookup(table: Mapping[str, Value], argument: str, name: str) -> Value:
    """The entry with this name.

    Raises:
        InvalidArgument: If there is none; the message lists the names and suggests a similar one.
    """
    if name not in table:
        expected = f"one of {', '.join(table)}{nearest(name, table)}"
        raise InvalidArgument(argument, expected=expected, got=name)
    return table[name]


def import_package(module: str, argument: str, extra: str) -> Any:
    """Import a module of an optional package.

    Arguments:
        module: The module, such as `pyarrow.parquet`.
        argument: The argument that needs it, for the message.
        extra: The extra of reddiff that installs the package.

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

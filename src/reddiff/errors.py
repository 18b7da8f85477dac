"""Every exception the library raises on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")


class ReddiffError(Exception):
    """The base of all errors raised on purpose: catch this one to catch them all."""


class InvalidArgument(ReddiffError, ValueError):
    """An argument that cannot be used: its name, what was expected, and what came.

    Arguments:
        argument: The name of the argument, as the caller wrote it.
        expected: What would have been accepted, in words.
        got: What came instead.
    """

    def __init__(self, argument: str, *, expected: str, got: object) -> None:
        super().__init__(f"{argument}: expected {expected}, got {got}")
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
        super().__init__(f"{path}: expected {expected}, got {got}")
        self.path, self.expected, self.got, self.errno = path, expected, got, errno


class Diverged(ReddiffError):
    """A run that diverged: a value became NaN or inf, and there is no result."""


class RecordError(ReddiffError):
    """A record that is damaged, or whose inputs, weights or pixels are no longer the same."""


def require(condition: bool, argument: str, *, expected: str, got: object) -> None:
    """Raise `InvalidArgument` unless the condition holds."""
    if not condition:
        raise InvalidArgument(argument, expected=expected, got=got)


def lookup(table: Mapping[str, Value], argument: str, name: str) -> Value:
    """The entry of this name, or InvalidArgument with the names there are."""
    require(name in table, argument, expected=f"one of {', '.join(table)}", got=name)
    return table[name]

from __future__ import annotations

import copy
import pickle
import pkgutil
from importlib import import_module

import pytest
import torch

import reddiff
from reddiff.errors import InvalidArgument, ReddiffError, SnapshotError, Unsupported, require


def test_an_invalid_argument_names_what_came_and_what_was_expected():
    with pytest.raises(InvalidArgument) as caught:
        require(False, "steps", expected="at least 1", got=0)
    assert str(caught.value) == "steps: expected at least 1, got 0"
    assert (caught.value.argument, caught.value.expected, caught.value.got) == (
        "steps",
        "at least 1",
        0,
    )
    require(True, "steps", expected="at least 1", got=1)


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (InvalidArgument, (ReddiffError, ValueError)),
        (Unsupported, (ReddiffError, TypeError)),
        (SnapshotError, (ReddiffError,)),
    ],
)
def test_errors_can_be_caught_by_family_and_by_builtin_type(error, parents):
    assert issubclass(error, parents)


def everywhere() -> list[type[ReddiffError]]:
    """Every class of error in the package."""
    for module in pkgutil.walk_packages(reddiff.__path__, "reddiff."):
        import_module(module.name)
    found, left = [], [ReddiffError]
    while left:
        kind = left.pop()
        found.append(kind)
        left += kind.__subclasses__()
    return [kind for kind in found if kind.__module__.startswith("reddiff")]


def test_every_error_goes_through_pickle_and_copy():
    kinds = everywhere()
    assert {"InvalidArgument", "PictureError", "SnapshotError"} < {k.__name__ for k in kinds}
    for kind in kinds:
        if "expected" in getattr(kind.__init__, "__annotations__", {}):
            error = kind("what", expected="a number", got=(1, "two", None))
        else:
            error = kind("a sentence")
        error.errno = 13
        error.add_note("a note")
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(again) is kind
            assert (str(again), again.args) == (str(error), error.args)
            assert vars(again) == vars(error)


def test_what_cannot_be_pickled_arrives_as_text():
    error = InvalidArgument("f", expected="a number", got=lambda: 1)
    again = pickle.loads(pickle.dumps(error))
    assert again.got == str(error.got)
    assert str(again) == str(error)


@pytest.mark.parametrize(
    "got", [torch.rand(100, 100), list(range(10_000)), "x" * 10_000, 10**6000, "a\nb"], ids=type
)
def test_messages_are_one_short_line(got):
    message = str(InvalidArgument("steps", expected="a few", got=got))
    assert message.startswith("steps: expected a few, got ")
    assert len(message) < 700
    assert "\n" not in message

from __future__ import annotations

import pytest

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

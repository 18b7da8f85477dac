"""Errors of an operator in a file of the user's own are the file's, not bugs of this package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from reddiff.errors import InvalidArgument, ReddiffError
from reddiff.images.tasks.custom import OWN


@contextmanager
def blamed(task: str) -> Iterator[None]:
    """Turn what is raised in `FILE.py:NAME`, or where it ends the program, into one sentence.

    Arguments:
        task: The task; nothing is done for one that is no such file.

    Raises:
        InvalidArgument: Naming the file, the line and the error.
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

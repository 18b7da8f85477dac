"""The report of the checks of an operator."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """The outcome of a check."""

    OK = "ok"
    NOTE = "note"
    FAILED = "FAILED"
    SKIPPED = "-"


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Arguments:
        name: The property that was checked.
        verdict: The outcome; a note does not count as a failure.
        expected: What was expected, in words.
        got: What was found, with numbers.
        advice: How to fix it; empty if there is nothing to do.
    """

    name: str
    verdict: Verdict
    expected: str
    got: str
    advice: str = ""


@dataclass(frozen=True)
class Report:
    """The result of `check`. It prints as a table, and is true if no check failed.

    Arguments:
        checks: The checks, in the order in which they ran.
    """

    checks: tuple[Check, ...]

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(c for c in self.checks if c.verdict is Verdict.FAILED)

    def __str__(self) -> str:
        wide = max(len(c.name) for c in self.checks)
        lines = [f"{c.name:<{wide}}  {c.verdict.value:<6}  {c.got}" for c in self.checks]
        todo = [c for c in self.checks if c.advice]
        lines += [f"{c.name}: expected {c.expected}. {c.advice}" for c in todo]
        return "\n".join(lines)


def ok(name: str, expected: str, got: str) -> Check:
    """A check that passed."""
    return Check(name, Verdict.OK, expected, got)


def note(name: str, expected: str, got: str, advice: str) -> Check:
    """A check that passed, with a remark."""
    return Check(name, Verdict.NOTE, expected, got, advice)


def failed(name: str, expected: str, got: object, advice: str) -> Check:
    """A check that failed."""
    return Check(name, Verdict.FAILED, expected, str(got), advice)


def skipped(name: str, why: str) -> Check:
    """A check that does not apply."""
    return Check(name, Verdict.SKIPPED, "", why)

"""Print text from files and records without terminal control characters."""

from __future__ import annotations

import re
import sys
import unicodedata
from io import TextIOWrapper

import typer

LONGEST_WORD = 300
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # controls, bidirectional marks, surrogates
JOINERS = "\u200c\u200d"  # in words of some scripts, and in emoji


def printable(text: str) -> str:
    r"""The text with control characters written as `\x1b`; line ends are kept."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(
        c if c == "\n" or c in JOINERS or unicodedata.category(c) not in UNSAFE else _escaped(c)
        for c in text
    )


def flat(text: str) -> str:
    """The text on one line: its line ends are written out too."""
    return printable(text).replace("\n", r"\n")


def one_line(text: str) -> str:
    """The text as one printable line, with very long words cut."""
    line = " ".join(text.split())
    line = re.sub(
        rf"\S{{{LONGEST_WORD},}}",
        lambda word: f"{word[0][:100]}... ({len(word[0])} characters)",
        line,
    )
    return printable(line)


def counted(number: int, noun: str) -> str:
    """The number and the noun: 1 evaluation, 2 evaluations."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def say(text: str, *, error: bool = False) -> None:
    """Print text that may come from a file."""
    typer.echo(printable(text), err=error)


def print_anything() -> None:
    """Escape characters that the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")

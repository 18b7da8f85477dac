"""Text from files as it is printed on the terminal."""

from __future__ import annotations

import pytest

from reddiff.cli.terminal import flat, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ntext", "plain\ntext"),
        ("ü 图 🙂", "ü 图 🙂"),
        ("\x1b]0;x\x07", r"\x1b]0;x\x07"),
        ("a\x9b1m", r"a\x9b1m"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("\r\t\x7f", r"\r\t\x7f"),
        ("\udcff.png", r"\udcff.png"),
        ("a\u2028b", r"a\u2028b"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_nothing_steers_the_terminal(text, shown):
    assert printable(text) == shown
    assert flat(text) == shown.replace("\n", r"\n")


def test_one_line_is_one_and_short():
    assert one_line("a\n  b\t\x1b") == r"a b \x1b"
    assert one_line("n: " + 5000 * "9") == "n: " + 100 * "9" + "... (5000 characters)"

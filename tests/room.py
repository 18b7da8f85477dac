"""How much room the bounds in the tests have: what they allow over what was measured.

`pytest --room FILE` appends one line of JSON for each comparison that passed, and
`python tests/room.py FILE` lists the comparisons that come within a factor of two of their bound:
the smallest room over all the runs in the file, which may differ in seed (REDDIFF_TEST_SEED), in
instruction set (ATEN_CPU_CAPABILITY) and in threads.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

ROOM = "room"
HERE = Path(__file__).parent
Record = Callable[[float], None]


def of(small: Any, large: Any) -> float:
    """The smallest ratio large / small over all entries; infinite where it means nothing."""
    pair = [v.detach().cpu() if isinstance(v, torch.Tensor) else v for v in (small, large)]
    try:
        s, b = (np.asarray(v) for v in pair)
        if all(v.dtype.kind in "iub" for v in (s, b)) or any(v.dtype.kind in "OSU" for v in (s, b)):
            return float("inf")  # counts are exact
        s, b = np.broadcast_arrays(s.astype(float), b.astype(float))
    except (TypeError, ValueError):
        return float("inf")
    s, b = np.where(b < 0, -b, s), np.where(b < 0, -s, b)  # -3 < -1 has the room of 1 < 3
    known = (s > 0) & (b > 0) & np.isfinite(s) & np.isfinite(b)
    return float((b[known] / s[known]).min()) if known.any() else float("inf")


def close(got: Any, wanted: Any, rtol: float, atol: float) -> float:
    """The room of |got - wanted| <= atol + rtol |wanted|."""
    g, w = (
        v.detach().cpu().numpy() if isinstance(v, torch.Tensor) else np.asarray(v)
        for v in (got, wanted)
    )
    if g.dtype.kind not in "fc" and w.dtype.kind not in "fc":
        return float("inf")
    return of(abs(g - w), atol + rtol * abs(w))


class _Wrap(ast.NodeTransformer):
    """Replace `a < b` by `__compare__("<", a, b)`."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        ops = [ast.Constant(type(op).__name__) for op in node.ops]
        call = ast.Call(
            ast.Name("__compare__", ast.Load()),
            [ast.List(ops, ast.Load()), node.left, *node.comparators],
            [],
        )
        return ast.copy_location(call, node)


PLAIN: dict[str, Callable[[Any, Any], Any]] = {
    "Lt": lambda a, b: a < b,
    "LtE": lambda a, b: a <= b,
    "Gt": lambda a, b: a > b,
    "GtE": lambda a, b: a >= b,
    "Eq": lambda a, b: a == b,
    "NotEq": lambda a, b: a != b,
    "Is": lambda a, b: a is b,
    "IsNot": lambda a, b: a is not b,
    "In": lambda a, b: a in b,
    "NotIn": lambda a, b: a not in b,
}


def _approx(got: Any, wanted: Any) -> float:
    """The room of `got == pytest.approx(wanted)`."""
    if type(wanted).__name__ == "ApproxScalar":
        return of(abs(float(got) - float(wanted.expected)), float(wanted.tolerance))
    if type(wanted).__name__.startswith("Approx"):
        pairs = wanted._yield_comparisons(got)
        return min((_approx(a, wanted._approx_scalar(b)) for a, b in pairs), default=float("inf"))
    return float("inf")


def replay(expression: str, frame: FrameType, record: Record) -> None:
    """Evaluate an assertion once more in its frame, and record each comparison in it."""

    def compare(ops: list[str], *values: Any) -> Any:
        result: Any = True
        for op, a, b in zip(ops, values[:-1], values[1:], strict=True):
            if op in ("Lt", "LtE"):
                record(of(a, b))
            elif op in ("Gt", "GtE"):
                record(of(b, a))
            elif op == "Eq":
                record(_approx(a, b))
                record(_approx(b, a))
            one = PLAIN[op](a, b)
            result = one if len(ops) == 1 else result and one
        return result

    tree = ast.fix_missing_locations(_Wrap().visit(ast.parse(expression.strip(), mode="eval")))
    names = {**frame.f_globals, **frame.f_locals, "__compare__": compare}
    eval(compile(tree, "<assertion>", "eval"), names)  # our own source, once more


class Recorder:
    """The plugin behind `--room`."""

    def __init__(self, path: Path, about: dict[str, str]) -> None:
        self.file, self.about = path.open("a"), about  # here: a test may forbid it
        self.item: pytest.Item | None = None

    def _record(self, line: int, name: str, text: str) -> Record:
        def record(room: float) -> None:
            if self.item is not None and room < 1e6:
                self.item.user_properties.append((ROOM, (name, line, text, room)))

        return record

    def watch(self) -> None:
        """Record what NumPy's and torch's own assertions were given."""
        plain, tensors = np.testing.assert_allclose, torch.testing.assert_close

        def allclose(
            actual: Any, desired: Any, rtol: float = 1e-7, atol: float = 0, **k: Any
        ) -> None:
            plain(actual, desired, rtol=rtol, atol=atol, **k)
            self._here("assert_allclose")(close(actual, desired, rtol, atol))

        def assert_close(actual: Any, expected: Any, **k: Any) -> None:
            tensors(actual, expected, **k)
            if k.get("rtol") is not None and isinstance(actual, torch.Tensor):
                self._here("assert_close")(close(actual, expected, k["rtol"], k["atol"]))

        np.testing.assert_allclose = allclose
        torch.testing.assert_close = assert_close

    def _here(self, text: str) -> Record:
        frame = _test_frame(sys._getframe())
        name = Path(frame.f_code.co_filename).relative_to(HERE).as_posix() if frame else "?"
        return self._record(frame.f_lineno if frame else 0, name, text)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        self.item = item
        yield
        self.item = None

    def pytest_assertion_pass(self, item: pytest.Item, lineno: int, orig: str, expl: str) -> None:
        if not any(op in orig for op in ("<", ">", "approx")):
            return
        frame = _asserting(sys._getframe())
        if not _is_test(frame.f_code.co_filename):
            return  # of hypothesis, or of a helper
        name = Path(frame.f_code.co_filename).relative_to(HERE).as_posix()
        try:
            replay(orig, frame, self._record(lineno, name, orig))
        except Exception as error:  # noqa: BLE001 - an assertion that cannot be run twice
            item.user_properties.append((ROOM, (name, lineno, f"{orig} ({error})", -1.0)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Append what was recorded, in the process that the workers report to."""
        if report.when != "call" or not report.passed or "PYTEST_XDIST_WORKER" in os.environ:
            return
        for name, line, text, room in (v for k, v in report.user_properties if k == ROOM):
            entry = {"test": report.nodeid, "file": name, "line": line, "assert": text}
            self.file.write(json.dumps({**self.about, **entry, "room": room}) + "\n")
        self.file.flush()


def _asserting(frame: FrameType) -> FrameType:
    """The frame of the assertion that pytest calls from."""
    while frame.f_globals["__name__"].split(".")[0] in {"_pytest", "pluggy", __name__}:
        assert frame.f_back is not None
        frame = frame.f_back
    return frame


def _test_frame(frame: FrameType | None) -> FrameType | None:
    """The nearest frame of a test file."""
    while frame is not None and not _is_test(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


@cache
def _is_test(name: str) -> bool:
    path = Path(name)
    return path.is_relative_to(HERE) and path.name not in ("room.py", "conftest.py", "compare.py")


def main() -> None:
    """List the comparisons with less than a factor of two."""
    least: dict[tuple[str, int, str], dict[str, Any]] = {}
    for path in sys.argv[1:]:
        for entry in map(json.loads, Path(path).read_text().splitlines()):
            key = entry["file"], entry["line"], entry["assert"]
            if entry["room"] < least.get(key, {"room": 2})["room"]:
                least[key] = entry
    for (name, line, text), e in sorted(least.items()):
        where = f"{e['capability']} {e['threads']} {e['seed']}"
        words = f"{name}:{line}  {' '.join(text.split())}  [{e['test']}] {where}"
        sys.stdout.write(f"{e['room']:6.2f}  {words}\n")


if __name__ == "__main__":
    main()

"""The spool of an unfinished shard: what was cut off or damaged is never taken for a result."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from reddiff.engine.spool import Spooled, Spot, append_spooled, heads, read_spooled, spooled

pytestmark = pytest.mark.usefixtures("untyped")  # many short calls

RESULTS = {
    index: Spooled({"key": f"{index}.png"}, {"noise": index / 8}, bytes([index]) * (9 + index))
    for index in (4, 0, 7)
}


def found(folder: Path) -> dict[int, tuple[object, ...]]:
    return {index: content(read_spooled(folder, index, s)) for index, s in spooled(folder).items()}


def content(result: Spooled | None) -> tuple[object, ...]:
    assert result is not None
    return result.row, result.record, result.data


GOOD = {index: content(result) for index, result in RESULTS.items()}


def test_a_file_that_was_cut_has_the_results_before_the_cut(tmp_path):
    path = tmp_path / "a.spool"
    spots = append_spooled(path, RESULTS)
    assert spots == spooled(tmp_path)
    assert found(tmp_path) == GOOD
    data = path.read_bytes()
    ends = [*(spot.offset for spot in spots.values()), len(data)][1:]
    for size in range(len(data)):
        path.write_bytes(data[:size])
        whole = [index for index, end in zip(spots, ends, strict=True) if end <= size]
        assert found(tmp_path) == {index: GOOD[index] for index in whole}
        assert [index for index, _ in heads(tmp_path)] == whole


def test_a_damaged_byte_loses_results_and_changes_none(tmp_path):
    path = tmp_path / "a.spool"
    spots = append_spooled(path, RESULTS)
    data = path.read_bytes()
    for place in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[place] ^= 0x11
        path.write_bytes(damaged)
        left = found(tmp_path)
        assert left.items() <= GOOD.items()
        before = [i for i, spot in spots.items() if spot.offset <= place][:-1]
        assert set(before) <= set(left)
        assert len(left) < len(GOOD)


def test_a_good_copy_is_used_whatever_lies_beside_it(tmp_path):
    """Of a process that was killed, of one that went on for a moment, and of another program."""
    append_spooled(tmp_path / "a.spool", RESULTS)
    data = (tmp_path / "a.spool").read_bytes()
    for name in ("0.spool", "z.spool"):
        (tmp_path / name).write_bytes(data[:-1])
    (tmp_path / "b.spool").write_bytes(b"reddiff\n" * 100)
    (tmp_path / "c.spool").mkdir()
    assert found(tmp_path) == GOOD
    assert read_spooled(tmp_path, 5, Spot("a.spool", 0)) is None
    assert read_spooled(tmp_path, 4, Spot("gone.spool", 0)) is None


def test_a_full_disk_leaves_complete_results_and_room_for_more(tmp_path):
    path = tmp_path / "a.spool"
    append_spooled(path, RESULTS)
    size = path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            append_spooled(path, {9: RESULTS[4]})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.stat().st_size == size
    append_spooled(path, {9: RESULTS[4]})
    assert found(tmp_path) == GOOD | {9: GOOD[4]}

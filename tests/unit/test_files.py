"""Files are written whole or not at all, and never replace others by accident."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from reddiff import files, staging
from reddiff.errors import PictureError
from reddiff.files import check_target, read_regular, write_together, write_whole


@pytest.fixture(params=["unnamed", "hidden", "no links"])
def folder(request, tmp_path, monkeypatch) -> Path:
    """A folder on a file system with files without a name, without them, and without links."""
    if request.param != "unnamed":
        monkeypatch.setattr(staging.sys, "platform", "elsewhere")
    if request.param == "no links":

        def link(*args, **more):
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(staging.os, "link", link)
    return tmp_path


def test_several_files_appear_together_in_order(folder):
    pair = [(folder / "new" / "a.json", b"record"), (folder / "new" / "a", b"picture")]
    write_together(pair)
    assert {p.name: p.read_bytes() for p in (folder / "new").iterdir()} == {
        "a.json": b"record",
        "a": b"picture",
    }
    with pytest.raises(PictureError, match=r"a\.json: expected a new file"):
        write_together(pair)
    write_together([(path, data[::-1]) for path, data in pair], force=True)
    assert (folder / "new" / "a").read_bytes() == b"erutcip"
    assert len(list((folder / "new").iterdir())) == 2


def test_what_appears_meanwhile_is_kept(folder, monkeypatch):
    real = files.check_target

    def late(path, **more):
        real(path, **more)
        if path.name == "picture":
            path.write_bytes(b"somebody else's")

    monkeypatch.setattr(files, "check_target", late)
    with pytest.raises(PictureError, match="picture: expected a new file"):
        write_together([(folder / "record", b"1"), (folder / "picture", b"2")])
    assert [(p.name, p.read_bytes()) for p in folder.iterdir()] == [("picture", b"somebody else's")]


@pytest.mark.parametrize("trouble", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_trouble_leaves_no_file_and_no_folder(folder, monkeypatch, trouble):
    calls = []

    def second(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise trouble

    monkeypatch.setattr(staging, "fsync", second)
    caught = PictureError if isinstance(trouble, OSError) else KeyboardInterrupt
    with pytest.raises(caught):
        write_together([(folder / "x/y/record", b"1"), (folder / "x/y/picture", b"2")])
    assert not list(folder.iterdir())


def test_links_pipes_and_folders_are_never_written_through(folder):
    (folder / "mine").write_bytes(b"mine")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "link").symlink_to(folder / "mine")
    os.mkfifo(folder / "pipe")
    (folder / "dir").mkdir()
    (folder / "device").symlink_to("/dev/null")
    for name in ("mine", "dangling", "link", "pipe", "dir", "device"):
        with pytest.raises(PictureError, match=name):
            write_whole(folder / name, b"new")
    for name in ("pipe", "dir"):
        with pytest.raises(PictureError, match=name):
            write_whole(folder / name, b"new", force=True)
    for name in ("dangling", "link", "device"):  # the link is replaced, not what it points to
        write_whole(folder / name, b"new", force=True)
        assert not (folder / name).is_symlink()
    assert (folder / "mine").read_bytes() == b"mine"
    assert not (folder / "nowhere").exists()
    with pytest.raises(PictureError, match="a pipe or device"):
        write_whole("/dev/null", b"new", force=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no/folder", "an existing folder, got no such folder"),
        ("file/x", "not a folder"),
        ("x" * 300, "too long"),
        ("a\0b", "null"),
    ],
)
def test_what_cannot_be_written_is_found_out_before(tmp_path, name, said):
    (tmp_path / "file").touch()
    with pytest.raises(PictureError, match=said):
        check_target(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_folders_may_be_made_where_that_is_asked_for(tmp_path):
    check_target(tmp_path / "a/b/c", parents=True)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(PictureError, match="not a folder"):
        check_target(tmp_path / "file/b/c", parents=True)


def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    def refused(*args, **more):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(staging.os, "open", refused)
    with pytest.raises(PictureError, match="permission denied") as caught:
        check_target(tmp_path / "x")
    assert caught.value.errno == errno.EACCES


def test_only_regular_files_of_a_sane_size_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    assert read_regular(tmp_path / "a", 5) == b"12345"
    for path, said in [
        (tmp_path / "a", "at most 4 bytes"),
        (tmp_path / "pipe", "a pipe or device"),
        ("/dev/zero", "a pipe or device"),
        (tmp_path, "directory"),
        (tmp_path / "missing", "no such file"),
    ]:
        with pytest.raises(PictureError, match=said):
            read_regular(path, 4)

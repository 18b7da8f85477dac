"""Available memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reddiff.errors import InvalidArgument
from reddiff.images import memory
from reddiff.images.memory import free_bytes, require_memory

pytestmark = pytest.mark.usefixtures("untyped")


def test_what_is_free_is_known_and_respected():
    free = free_bytes()
    assert free is not None
    assert 1e7 < free < 1e15
    require_memory(1e6, "a picture")
    with pytest.raises(InvalidArgument, match=r"memory: expected a picture that fits .* 1e\+06 GB"):
        require_memory(1e15, "a picture")


def test_a_container_has_less(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("4500000\n")
    (tmp_path / "memory.stat").write_text("anon 400000\nfile 100000\n")
    assert free_bytes() == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes() > 600_000


@pytest.mark.skipif(sys.platform == "win32", reason="there is no ulimit")
def test_a_limit_of_addresses_counts():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 34, 1 << 34));"
        "from reddiff.images.memory import free_bytes; print(free_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1 << 34

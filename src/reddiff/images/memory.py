"""Free memory, to raise an error before a run that cannot fit."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

from reddiff.errors import InvalidArgument

CONTAINER = Path("/sys/fs/cgroup")


def free_bytes() -> int | None:
    """The memory that this process may still allocate; None if the system does not report it."""
    found = [_available(), _container(), _address_space()]
    known = [value for value in found if value is not None]
    return max(0, min(known)) if known else None


def require_memory(needed: float, what: str) -> None:
    """Check that a run fits in the free memory.

    Raises:
        InvalidArgument: If it does not; the message has both numbers.
    """
    free = free_bytes()
    if free is not None and needed > free:
        expected = f"{what} that fits the memory, of which {free / 1e9:.1f} GB are free"
        raise InvalidArgument(
            "memory", expected=expected, got=f"one of about {needed / 1e9:.3g} GB"
        )


def _available() -> int | None:
    with suppress(OSError):
        text = Path("/proc/meminfo").read_text()
        if match := re.search(r"^MemAvailable:\s+(\d+) kB", text, re.M):
            return int(match[1]) * 1024
    return None


def _container() -> int | None:
    """Free memory under the limit of a container; cached files count as free."""
    with suppress(OSError, ValueError):
        limit = int((CONTAINER / "memory.max").read_text())
        used = int((CONTAINER / "memory.current").read_text())
        kept = re.search(r"^file (\d+)", (CONTAINER / "memory.stat").read_text(), re.M)
        return limit - used + (int(kept[1]) if kept else 0)
    return None


def _address_space() -> int | None:
    """Free memory under the limit of `ulimit -v`."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return limit - pages * resource.getpagesize()
    return None

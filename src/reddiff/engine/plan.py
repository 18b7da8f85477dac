"""The plan of a run: everything that determines the pixels, and the division into shards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any

from reddiff.engine.modes import Output
from reddiff.errors import require, require_count
from reddiff.images.jobs import Job
from reddiff.images.records import versions

FORMAT = 1
DECISIVE = ("reddiff", "torch")  # the packages whose versions must be the same in a rerun


@dataclass(frozen=True)
class Plan:
    """The plan of a run. Two runs with equal plans give the same pixels.

    Arguments:
        settings: Name -> value; for files, their hashes.
        weights: The hash of the prior's weights.
        versions: The versions of reddiff and torch.
        output: The format of the results.
        shard_size: Pictures per shard.
        threads: Threads of torch in each process.
        keep_diverged: As for `Job`.
        count: The number of pictures.
        source: A hash of their names and sizes.
    """

    settings: Mapping[str, Any]
    weights: str
    versions: Mapping[str, str]
    output: str
    shard_size: int
    threads: int
    keep_diverged: bool
    count: int
    source: str

    @classmethod
    def of(
        cls,
        job: Job,
        *,
        weights: str,
        output: Output,
        shard_size: int,
        threads: int,
        count: int,
        source: str,
        own: Mapping[str, str] | None = None,
    ) -> Plan:
        """The plan of a run in which every picture has the settings of this job.

        Arguments:
            own: Hashes of the settings that each picture has of its own.

        Raises:
            InvalidArgument: If a number is out of range.
            PictureError: If a file that the settings name cannot be read.
        """
        require_count("--shard-size", shard_size)
        require_count("--threads", threads)
        settings = {k: v for k, v in job.entries.items() if k not in OF_A_PICTURE}
        own = dict(own or {})
        named = [name for name in job.files if name != "source" and name not in own]
        hashes = job.input_hashes(named)
        settings |= {name: f"sha256:{hashes[name]}{job.tail(name)}" for name in named} | own
        known = {name: value for name, value in versions().items() if name in DECISIVE}
        keep = job.keep_diverged
        return cls(settings, weights, known, output.value, shard_size, threads, keep, count, source)

    @classmethod
    def parse(cls, data: bytes) -> Plan:
        """The plan in a file.

        Raises:
            ValueError: If it is not a plan of this format.
        """
        found = json.loads(data)
        require(isinstance(found, dict), "plan", expected="an object", got=type(found).__name__)
        number = found.pop("format", None)
        names = {f.name for f in fields(cls)}
        if number != FORMAT or set(found) != names:
            raise ValueError(f"expected a plan of format {FORMAT}, got format {number}")
        return cls(**found)

    def as_json(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode()

    @property
    def id(self) -> str:
        """A hash of the plan, with 16 digits."""
        return sha256(self.as_json()).hexdigest()[:16]

    @property
    def shards(self) -> int:
        return -(-self.count // self.shard_size)

    def rows(self, shard: int) -> range:
        """The indices of the pictures in a shard."""
        first = shard * self.shard_size
        return range(first, min(first + self.shard_size, self.count))

    def differences(self, old: Plan) -> list[str]:
        """The differences from an earlier plan, except in the source."""
        found = []
        for name in ("settings", "versions"):
            was, now = getattr(old, name), getattr(self, name)
            for key in {**was, **now}:
                if was.get(key) != now.get(key):
                    label = key.replace("_", "-") if name == "settings" else f"version of {key}"
                    found.append(_change(label, was.get(key), now.get(key)))
        plain = ("weights", "output", "shard_size", "threads", "keep_diverged")
        found += [
            _change(name.replace("_", "-"), getattr(old, name), getattr(self, name))
            for name in plain
            if getattr(old, name) != getattr(self, name)
        ]
        return found


OF_A_PICTURE = ("source", "output", "lane", "keep_diverged")


def _change(name: str, was: object, now: object) -> str:
    hashed = isinstance(was, str) and isinstance(now, str) and max(len(was), len(now)) >= 60
    return f"{name} (another file)" if hashed else f"{name} {was} -> {now}"

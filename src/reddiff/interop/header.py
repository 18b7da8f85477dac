"""The metadata of a weights file on its network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reddiff.interop.architectures import ARCHITECTURES
from reddiff.interop.wiring import Wiring


@dataclass(frozen=True)
class Header:
    """The metadata of a weights file.

    Arguments:
        architecture: A name in `ARCHITECTURES`.
        arguments: Its keyword arguments.
        wiring: How the network was trained.
    """

    architecture: str
    arguments: Mapping[str, Any]
    wiring: Wiring

    def to_json(self) -> str:
        """The entry `reddiff`."""
        wiring = self.wiring.to_json()
        entry = {"architecture": self.architecture, "arguments": dict(self.arguments)}
        return json.dumps(entry | {"wiring": wiring}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Header:
        """The inverse of `to_json`.

        Raises:
            ValueError: If it is not JSON, or has other entries.
        """
        entry = json.loads(text)
        if not isinstance(entry, dict) or set(entry) != {"architecture", "arguments", "wiring"}:
            raise ValueError("expected an object of architecture, arguments and wiring")
        if entry["architecture"] not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise ValueError(f"architecture: expected one of {known}, got {entry['architecture']}")
        return cls(entry["architecture"], entry["arguments"], Wiring.from_json(entry["wiring"]))

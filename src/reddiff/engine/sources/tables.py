"""Pictures in Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from reddiff.engine.items import Item, Place, Source
from reddiff.errors import InvalidArgument, PictureError, import_package
from reddiff.images.folders import SUFFIXES

KEYS = ("key", "__key__", "path", "name")  # columns that may name the pictures


def arrow() -> Any:
    """pyarrow.parquet.

    Raises:
        InvalidArgument: If pyarrow is not installed.
    """
    return import_package("pyarrow.parquet", "Parquet", "run")


@dataclass(frozen=True)
class ParquetCell(Place):
    """A row of a Parquet file."""

    path: str
    column: str
    group: int
    row: int

    def read(self) -> bytes:
        cell = _column(self.path, self.column, self.group)[self.row].as_py()
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes) or not data:
            raise PictureError(self.path, expected="the bytes of a picture", got="an empty cell")
        return data


@lru_cache(maxsize=1)
def _column(path: str, column: str, group: int) -> Any:
    """A column of a row group; the last one is cached."""
    with arrow().ParquetFile(path) as file:
        return file.read_row_group(group, columns=[column]).column(0)


def storable(text: str) -> str:
    """A text with what is not UTF-8 escaped; names of files may be so, texts in Parquet not."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def from_tables(paths: Sequence[Path], suffixes: Sequence[str]) -> Source:
    """The pictures in the one column of bytes of each file.

    The column has bytes, or structs with a field `bytes`. If there are several such columns, the
    one named `image` is used. A key consists of the name of the file and the value of a column
    `key`, `__key__`, `path` or `name`, or else the number of the row.

    Raises:
        PictureError: If a file is not a Parquet file.
        InvalidArgument: If it has no such column, or pyarrow is not installed.
    """
    parquet = arrow()
    items: list[Item] = []
    for path in paths:
        try:
            with parquet.ParquetFile(path) as file:
                schema = file.schema_arrow
                column = _pictures(path, schema)
                named = next((n for n in KEYS if n in schema.names and _is_text(schema, n)), None)
                number = 0
                for group in range(file.num_row_groups):
                    rows = file.metadata.row_group(group).num_rows
                    keys = file.read_row_group(group, columns=[named])[0] if named else None
                    for row in range(rows):
                        key = f"{number:09d}" if keys is None else str(keys[row].as_py())
                        place = ParquetCell(str(path), column, group, row)
                        items.append(Item(f"{path.stem}/{key}", -1, place))
                        number += 1
        except InvalidArgument:
            raise
        except Exception as error:
            got = " ".join(str(error).split())[:200]
            raise PictureError(path, expected="a Parquet file", got=got) from error
    kept = [item for item in items if _kept(item.key, suffixes)]
    left = len(items) - len(kept)
    return Source(kept, [f"Skipped, by their extension: {left} rows."] if left else [])


def _kept(key: str, suffixes: Sequence[str]) -> bool:
    suffix = PurePosixPath(key).suffix.lower()
    return suffix not in SUFFIXES or suffix in suffixes


def _is_text(schema: Any, name: str) -> bool:
    return str(schema.field(name).type) in ("string", "large_string")


def _pictures(path: Path, schema: Any) -> str:
    """The name of the column of pictures."""

    def fits(kind: Any) -> bool:
        if str(kind) in ("binary", "large_binary"):
            return True
        return str(kind).startswith("struct<") and kind.get_field_index("bytes") >= 0

    found = [field.name for field in schema if fits(field.type)]
    if len(found) != 1 and "image" not in found:
        expected = f"one column of bytes in {path}, or one named image"
        got = ", ".join(f"{f.name} ({f.type})" for f in schema)
        raise InvalidArgument("SRC", expected=expected, got=got)
    return found[0] if len(found) == 1 else "image"

"""Choose at random as many training images as fit in a few megabytes, their files as they are.

Writes scenes.tar and photos.tar, sources for prepare.py. Files that are not images, such as
credits, are all kept.
"""

from __future__ import annotations

import argparse
import io
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path

from prepare import contents, is_image

MEGABYTE = 1_000_000
OVERHEAD = 1024  # bytes of a .tar for each member, beside the data: a header, and padding


def pack(sources: Sequence[Path], out: Path, limit: int, seed: int) -> int:
    """Write a .tar of at most `limit` bytes; the number of images in it."""
    files = {f"{s.stem}/{name}": data for s in sources for name, data in contents(s)}
    notes = [name for name in files if not is_image(name)]
    names = [name for name in files if is_image(name)]
    random.Random(seed).shuffle(names)  # noqa: S311
    chosen, room = notes, limit - 20 * OVERHEAD  # a .tar ends in zeros
    room -= sum(len(files[name]) + OVERHEAD for name in notes)
    for name in names:
        size = len(files[name]) + OVERHEAD
        if size <= room:
            room -= size
            chosen.append(name)
    if room < 0:
        raise SystemExit(f"{out}: {limit} bytes are too few for the files that are not images")
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(chosen):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
    return sum(is_image(name) for name in chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, nargs="*", default=[], help="as for prepare.py")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="as for prepare.py")
    parser.add_argument("--megabytes", type=float, default=30, help="of both files together")
    parser.add_argument("--part", type=float, default=0.1, help="of them for scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder")
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    whole, part = args.megabytes * MEGABYTE, args.part if args.scenes else 0.0
    for name, sources, share in (("photos", args.photos, 1 - part), ("scenes", args.scenes, part)):
        path = args.out / f"{name}.tar"
        count = pack(sources, path, int(share * whole), args.seed) if sources else 0
        size = path.stat().st_size / MEGABYTE if sources else 0.0
        print(f"{count} {name}, {size:.1f} MB")


if __name__ == "__main__":
    main()

"""Files of every kind of picture, and ways to damage them: all decided by a seed."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms

SIDES = (0, 1, 2, 31, 65535, 65536, 13_000, 13_340, 30_000, 2**31 - 1, 2**32 - 1)
COUNTS = (0, 1, 2, 3, 1000, 2**16, 2**24, 2**31, 2**32 - 1)
TAGS = (254, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 322, 323, 324, 325)
TAGS += (330, 338, 339, 347, 530, 700, 33723, 34665, 34675, 34377, 50706)
CODECS = (0, 1, 2, 3, 5, 6, 7, 8, 32773, 32946, 34712, 34887, 34925, 34933, 34934, 50000, 50001)
CODECS += (50002, 34663, 65535)


@cache
def bases() -> dict[str, bytes]:
    """Small whole files, by a name that ends in their format."""
    rng = np.random.default_rng(5)
    rgb = rng.integers(0, 256, (24, 32, 3), np.uint8)
    deep = rng.integers(0, 65536, (24, 32, 3)).astype(np.uint16)
    found: dict[str, bytes] = {}
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[271], exif[274], exif[306] = "Maker", 6, "2020:01:01 00:00:00"

    def pillow(name: str, kind: str, mode: str = "RGB", **options: object) -> None:
        buffer = io.BytesIO()
        Image.fromarray(rgb).convert(mode).save(buffer, kind, **options)
        found[name] = buffer.getvalue()

    rich = {"icc_profile": icc, "exif": exif, "dpi": (300, 300)}
    more = {"save_all": True, "append_images": [Image.fromarray(255 - rgb)]}
    for mode in ("1", "L", "LA", "P", "RGBA"):
        pillow(f"{mode}.png", "PNG", mode)
    pillow("rich.png", "PNG", **rich)
    pillow("rich.jpg", "JPEG", **rich)
    for mode in ("L", "CMYK"):
        pillow(f"{mode}.jpg", "JPEG", mode)
    pillow("444.jpg", "JPEG", subsampling=0, restart_marker_rows=1)
    pillow("progressive.jpg", "JPEG", progressive=True)
    pillow("lossless.webp", "WEBP", lossless=True, exif=exif, xmp=b"<x/>")
    pillow("lossy.webp", "WEBP", "RGBA")
    for kind in ("png", "webp", "gif"):
        pillow(f"frames.{kind}", kind.upper(), **more)
    for kind in ("gif", "bmp", "ppm"):
        pillow(f"one.{kind}", kind.upper())
    found["text.ppm"] = b"P2\n4 3\n# a comment\n255\n" + b"7 8 9 10\n" * 3
    for name, array in (("deep.png", deep), ("deep-gray.png", deep[..., :2].copy())):
        found[name] = bytes(imagecodecs.png_encode(array))
    pages = np.stack([rgb] * 3)

    def tiff(name: str, array: np.ndarray, **options: object) -> None:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, **options)
        found[f"{name}.tif"] = buffer.getvalue()

    color: dict[str, object] = {"photometric": "rgb"}
    for codec in ("zlib", "lzw", "packbits", "jpeg", "webp", "png", "jpeg2000", "zstd", "lzma"):
        tiff(codec, rgb, compression=codec, rowsperstrip=8, **color)
    for codec in ("lerc", "jpegxl", "jpegxr"):
        tiff(codec, rgb, compression=codec, rowsperstrip=8, **color)
    tiff("plain", rgb, **color)
    tiff("deep", deep, **color)
    tiff("big", rgb, bigtiff=True, **color)
    tiff("tiles", rgb, tile=(16, 16), compression="jpeg", **color)
    tiff("differences", rgb, compression="zlib", predictor=True, **color)
    tiff("pages", pages, **color)
    tiff("floats", (rgb[..., 0] / 255).astype(np.float32))
    tiff("stack", np.stack([rgb[..., 0]] * 3), imagej=True, metadata={"axes": "ZYX"})
    return found


def damaged(seed: int) -> tuple[str, bytes]:
    """The name of the file it was, and what is left of it."""
    rng = random.Random(seed)
    name = rng.choice(sorted(bases()))
    ways: list[Callable[[random.Random, str, bytes], bytes]] = [_flip, _cut, _splice, _repeat]
    data = rng.choice([*ways, _insert, _header, _header, _header, _header])(
        rng, name, bases()[name]
    )
    if rng.random() < 0.2 and len(data) > 10:
        data = rng.choice(ways)(rng, name, data)
    return name, data


def _flip(rng: random.Random, _: str, data: bytes) -> bytes:
    new = bytearray(data)
    limit = min(len(new), rng.choice([40, 120, 400, len(new)]))
    for _i in range(rng.choice([1, 1, 2, 4, 10, 40])):
        new[rng.randrange(limit)] = rng.choice([rng.randrange(256), 0, 255])
    return bytes(new)


def _cut(rng: random.Random, name: str, data: bytes) -> bytes:
    end = b"\xff\xd9" if name.endswith(".jpg") and rng.random() < 0.5 else b""
    return data[: rng.randrange(1, len(data))] + end


def _splice(rng: random.Random, _: str, data: bytes) -> bytes:
    other = bases()[rng.choice(sorted(bases()))]
    return data[: rng.randrange(1, len(data))] + other[rng.randrange(len(other)) :]


def _repeat(rng: random.Random, _: str, data: bytes) -> bytes:
    a, b = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    return data[:b] + data[a:b] * rng.choice([1, 3, 50]) + data[b:]


def _insert(rng: random.Random, _: str, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.choice([1, 2, 4, 64])) + data[at:]


def _header(rng: random.Random, name: str, data: bytes) -> bytes:
    kind = name.rpartition(".")[2]
    ways = {"png": _png, "jpg": _jpeg, "webp": _webp, "tif": _tiff}
    return ways.get(kind, _flip)(rng, name, data)


def _png(rng: random.Random, _: str, data: bytes) -> bytes:
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    way = rng.randrange(6)
    head = bytearray(chunks[0][1])
    if way < 2:
        head[:8] = struct.pack(">II", rng.choice(SIDES), rng.choice(SIDES))
    elif way == 2:
        head[8], head[9] = rng.choice([0, 1, 4, 8, 16, 32]), rng.choice([0, 1, 2, 3, 4, 6, 7])
        head[12] = rng.choice([0, 1, 2])
    elif way == 3:
        names = (b"iCCP", b"eXIf", b"tRNS", b"PLTE", b"zTXt", b"iTXt", b"acTL", b"fcTL", b"pHYs")
        extra = (rng.choice(names), rng.randbytes(rng.choice([0, 1, 8, 9, 26, 300])))
        chunks.insert(rng.randint(1, len(chunks)), extra)
    elif way == 4:
        packed = b"a\0\0" + zlib.compress(bytes(1 << 26))
        chunks.insert(1, (rng.choice([b"zTXt", b"iCCP"]), packed))
    else:
        rng.shuffle(chunks)
    if way < 3:
        chunks[0] = (chunks[0][0], bytes(head))
    return data[:8] + b"".join(
        struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks
    )


def _jpeg(rng: random.Random, _: str, data: bytes) -> bytes:
    new, at, found = bytearray(data), 2, []
    while at + 4 < len(new) and new[at] == 0xFF:
        found.append((new[at + 1], at))
        if new[at + 1] == 0xDA:
            break
        at += 2 + int.from_bytes(new[at + 2 : at + 4], "big")
    frame = next((at for marker, at in found if marker in (0xC0, 0xC2)), 2)
    way = rng.randrange(5)
    if way < 2:
        new[frame + 5 : frame + 9] = struct.pack(
            ">HH", *(rng.choice([0, 1, 13_000, 65_535]) for _i in "ab")
        )
    elif way == 2:
        new[frame + 1] = rng.choice([0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA, 0xCB])
        new[frame + 11] = rng.choice([0x11, 0x22, 0x41, 0x44, 0x00, 0xFF])
    elif way == 3:
        at = rng.choice(found)[1]
        new[at + 2 : at + 4] = struct.pack(">H", rng.choice([0, 1, 2, 20, 65_535]))
    else:
        heads = (b"Exif\0\0", b"ICC_PROFILE\0\1\2", b"Adobe\0d\0\0\0\0\2", b"Photoshop 3.0\08BIM")
        content = rng.choice(heads) + rng.randbytes(rng.choice([2, 20, 300]))
        marker = rng.choice([0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE])
        new[2:2] = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    return bytes(new)


def _webp(rng: random.Random, _: str, data: bytes) -> bytes:
    new, at, found = bytearray(data), 12, []
    while at + 8 <= len(new):
        found.append(at)
        length = int.from_bytes(new[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    at, way = rng.choice(found), rng.randrange(3)
    if way == 0:
        new[at + 4 : at + 8] = struct.pack("<I", rng.choice([0, 1, 10, 2**31, 2**32 - 1]))
    elif way == 1:
        new[at : at + 4] = rng.choice([b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH"])
    else:
        for i in range(at + 8, min(at + 20, len(new))):
            new[i] = rng.choice([0, 255, rng.randrange(256)])
    return bytes(new)


def _tiff(rng: random.Random, _: str, data: bytes) -> bytes:
    new = bytearray(data)
    if new[2] == 43:
        return _flip(rng, "", data)
    start = struct.unpack("<I", new[4:8])[0]
    count = struct.unpack("<H", new[start : start + 2])[0]
    for _i in range(rng.choice([1, 1, 1, 2, 3])):
        at = start + 2 + 12 * rng.randrange(count)
        way = rng.randrange(6)
        if way == 0:
            new[at : at + 2] = struct.pack("<H", rng.choice(TAGS))
        elif way == 1:
            new[at + 2 : at + 4] = struct.pack("<H", rng.randrange(19))
        elif way == 2:
            new[at + 4 : at + 8] = struct.pack("<I", rng.choice(COUNTS))
        elif way == 3:
            values = (*SIDES, start, len(new), rng.randrange(2**16))
            new[at + 8 : at + 12] = struct.pack("<I", rng.choice(values))
        elif way == 4:
            new[at + 8 : at + 10] = struct.pack("<H", rng.choice(CODECS))
        else:
            end = start + 2 + 12 * count
            new[end : end + 4] = struct.pack("<I", rng.choice([start, 8, at, 2**31]))
    return bytes(new)

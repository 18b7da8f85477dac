"""Resolution, gamma, XMP and texts are kept wherever the format has a place for them."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image, PngImagePlugin

from reddiff.images.io import Picture, read_picture, write_picture
from reddiff.images.io.exif import loaded
from reddiff.images.io.metadata import Metadata, without_layout

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 17, 3), np.uint8)
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5" '
    b'tiff:Orientation="6" exif:PixelXDimension="999"><tiff:ImageWidth>17</tiff:ImageWidth>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
EVERY = [".png", ".jpg", ".webp", ".tif"]


@pytest.fixture
def rich(tmp_path) -> Picture:
    """A picture with everything that a file may say of it."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "aunt, 1936")
    info.add_itxt("Comment", "Straße")
    info.add(b"gAMA", struct.pack(">I", 100_000))
    info.add(b"cHRM", struct.pack(">8I", *range(10_000, 90_000, 10_000)))
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    Image.fromarray(PIXELS).save(tmp_path / "rich.png", dpi=(300, 200), pnginfo=info)
    return read_picture(tmp_path / "rich.png")


def test_what_a_png_says(rich):
    meta = rich.metadata
    assert meta.dpi == pytest.approx((300, 200), rel=1e-4)
    assert meta.texts == (("Title", "aunt, 1936"), ("Comment", "Straße"))
    assert [name for name, _ in meta.color] == [b"gAMA", b"cHRM"]
    assert meta.xmp is not None
    assert b'xmp:Rating="5"' in meta.xmp
    for stale in (b"Orientation", b"PixelXDimension", b"ImageWidth"):
        assert stale not in meta.xmp


@pytest.mark.parametrize("suffix", EVERY)
def test_it_goes_from_format_to_format(tmp_path, rich, suffix):
    path = tmp_path / f"a{suffix}"
    write_picture(path, rich)
    again = read_picture(path)
    assert again.metadata.dpi == pytest.approx((300, 200), rel=2e-3)
    assert again.metadata.xmp == rich.metadata.xmp
    if suffix == ".png":
        assert again.metadata == replace(rich.metadata, dpi=again.metadata.dpi)
    else:
        exif = loaded(again.exif)
        assert exif[ExifTags.Base.DocumentName] == "aunt, 1936"
        assert float(exif.get_ifd(ExifTags.IFD.Exif)[0xA500]) == 1
    with Image.open(path) as image:  # as other programs read it
        if suffix != ".webp":
            assert image.info["dpi"] == pytest.approx((300, 200), rel=2e-3)
        if suffix == ".png":
            assert image.info["gamma"] == 1
            assert image.text["Title"] == "aunt, 1936"
        if suffix == ".jpg":
            assert image.info["comment"] == "Straße".encode()
        if suffix == ".tif":
            assert image.tag_v2[318] == pytest.approx((0.1, 0.2))
            assert image.tag_v2[700] == rich.metadata.xmp
    back = tmp_path / "back.png"
    write_picture(back, again)
    assert read_picture(back).metadata.dpi == pytest.approx((300, 200), rel=2e-3)
    assert read_picture(back).metadata.xmp == rich.metadata.xmp


def test_what_a_jpeg_and_a_tiff_say(tmp_path):
    image = Image.fromarray(PIXELS)
    image.save(tmp_path / "a.jpg", dpi=(240, 240), comment="hello", quality=95)
    data = (tmp_path / "a.jpg").read_bytes()
    records = b"\x1c\x02\x78\0\5words"
    irb = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records
    head = b"\xff\xed" + struct.pack(">H", len(irb) + 2) + irb
    (tmp_path / "a.jpg").write_bytes(data[:20] + head + data[20:])
    meta = read_picture(tmp_path / "a.jpg").metadata
    assert meta == Metadata(dpi=(240, 240), iptc=records, texts=(("Comment", "hello"),))
    for name in ("b.jpg", "b.tif"):
        write_picture(tmp_path / name, read_picture(tmp_path / "a.jpg"))
        again = read_picture(tmp_path / name).metadata
        assert (again.dpi, again.iptc) == ((240, 240), records)
    tifffile.imwrite(
        tmp_path / "a.tif", PIXELS, photometric="rgb", resolution=(100, 50), resolutionunit=3
    )
    meta = read_picture(tmp_path / "a.tif").metadata
    assert meta.dpi == pytest.approx((254, 127))


def test_the_resolution_of_exif_counts_where_the_format_states_none(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = 350.0
    exif[ExifTags.Base.ResolutionUnit] = 2
    Image.fromarray(PIXELS).save(tmp_path / "a.webp", exif=exif)
    assert read_picture(tmp_path / "a.webp").metadata.dpi == (350, 350)


def test_a_stored_profile_and_srgb_do_not_stand_side_by_side(tmp_path):
    from PIL import ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    meta = Metadata(color=((b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45_455))))
    for profile, kept in ((icc, [b"gAMA"]), (None, [b"sRGB", b"gAMA"])):
        picture = Picture(torch.zeros(3, 4, 4), icc=profile, metadata=meta)
        write_picture(tmp_path / "a.png", picture, force=True)
        assert [n for n, _ in read_picture(tmp_path / "a.png").metadata.color] == kept


def test_packed_texts_that_would_fill_the_memory_are_left_out(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Big", "x" * 30_000_000, zip=True)
    info.add_text("Small", "y" * 3000, zip=True)
    Image.fromarray(PIXELS).save(tmp_path / "a.png", pnginfo=info)
    assert read_picture(tmp_path / "a.png").metadata.texts == (("Small", "y" * 3000),)


def test_thumbnails_in_xmp_are_dropped():
    packet = b'<a><xmp:Thumbnails x="1"><rdf:li>old</rdf:li></xmp:Thumbnails><b/></a>'
    assert without_layout(packet) == b"<a><b/></a>"
    assert without_layout(None) is without_layout(b"") is None

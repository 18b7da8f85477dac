"""Recognize the format of a file by its first bytes, including formats that cannot be read."""

from __future__ import annotations

from pathlib import Path

from reddiff.errors import PictureError

READ = "a PNG, JPEG, WebP, TIFF, BMP, GIF or PPM picture"
HEAD = 32  # bytes that identify a format

# Formats that are recognized but not read: name, conversion, offset, bytes. The first match counts.
MAGICK = "magick IN OUT.png"
RAW = "darktable-cli IN OUT.tif, or dcraw -T -6 IN"
AVIF, HEIF = "avifdec IN OUT.png", "heif-convert IN OUT.png"
OIIO, FFMPEG = "oiiotool IN -o OUT.tif", "ffmpeg -i IN OUT_%04d.png"
OTHERS: tuple[tuple[str, str, int, tuple[bytes, ...]], ...] = (
    ("a raw photo (CR2)", RAW, 8, (b"CR\x02\x00",)),
    ("a raw photo (CR3)", RAW, 4, (b"ftypcrx ",)),
    ("a raw photo (ORF)", RAW, 0, (b"IIRO", b"IIRS")),
    ("a raw photo (RW2)", RAW, 0, (b"IIU\x00",)),
    ("a raw photo (RAF)", RAW, 0, (b"FUJIFILMCCD-RAW",)),
    ("a raw photo (X3F)", RAW, 0, (b"FOVb",)),
    ("an AVIF picture", AVIF, 4, (b"ftypavif",)),
    ("an AVIF animation", AVIF, 4, (b"ftypavis",)),
    ("a HEIC picture", HEIF, 4, (b"ftyphei", b"ftyphev")),
    ("a HEIF picture", HEIF, 4, (b"ftypmif1", b"ftypmsf1")),
    ("a video", FFMPEG, 4, (b"ftyp",)),
    ("a video", FFMPEG, 0, (b"\x1aE\xdf\xa3",)),
    ("a JPEG XL picture", "djxl IN OUT.png", 0, (b"\xff\x0a",)),
    ("a JPEG XL picture", "djxl IN OUT.png", 4, (b"JXL \r\n",)),
    ("a JPEG 2000 picture", "opj_decompress -i IN -o OUT.png", 4, (b"jP  \r\n",)),
    ("a JPEG 2000 picture", "opj_decompress -i IN -o OUT.png", 0, (b"\xffO\xffQ",)),
    ("a JPEG XR picture", "JxrDecApp -i IN -o OUT.tif", 0, (b"II\xbc",)),
    ("a Photoshop document", "magick 'IN[0]' OUT.png", 0, (b"8BPS",)),
    ("a GIMP document", MAGICK, 0, (b"gimp xcf",)),
    ("an OpenEXR picture", OIIO, 0, (b"v/1\x01",)),
    ("a Radiance picture", OIIO, 0, (b"#?RADIANCE",)),
    ("a FITS file", "astropy.io.fits and tifffile, or an array in Python", 0, (b"SIMPLE  =",)),
    ("a DICOM file", "dcmj2pnm --write-png IN OUT.png", 128, (b"DICM",)),
    ("a NumPy array", "reddiff.restore(numpy.load(IN), ...) in Python", 0, (b"\x93NUMPY",)),
    ("an HDF5 file", "h5py, and an array in Python", 0, (b"\x89HDF\r\n",)),
    ("a PDF document", "pdftoppm -png -r 300 IN OUT", 0, (b"%PDF",)),
    ("a PostScript document", MAGICK, 0, (b"%!PS",)),
    ("an SVG drawing", MAGICK, 0, (b"<svg",)),
    ("an XML file", MAGICK, 0, (b"<?xml",)),
    ("a PCX picture", MAGICK, 0, (b"\x0a\x05\x01",)),
    ("an icon", MAGICK, 0, (b"\x00\x00\x01\x00",)),
    ("a DDS texture", MAGICK, 0, (b"DDS ",)),
    ("a PAM picture", MAGICK, 0, (b"P7\n",)),
    ("a PFM picture", MAGICK, 0, (b"PF\n", b"Pf\n")),
    (
        "a metadata file of macOS (AppleDouble), not a picture",
        "",
        0,
        (b"\x00\x05\x16\x07", b"\x00\x05\x16\x00"),
    ),
    ("a ZIP archive", "unzip IN", 0, (b"PK\x03\x04",)),
    ("a gzip archive", "gunzip IN", 0, (b"\x1f\x8b",)),
)


def kind_of(path: Path, head: bytes) -> str:
    """The format of a picture file: PNG, JPEG, WEBP, TIFF, BMP, GIF or PPM.

    Arguments:
        path: The file, for messages.
        head: Its first bytes: 132 or more, if the file has so many.

    Raises:
        PictureError: For any other format. The message names it, and a command that converts it.
    """
    for name, command, at, magics in OTHERS:
        if head.startswith(magics, at):
            raise unread(path, name, command)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "BMP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#":
        return "PPM"
    got = f"a file of another kind (it begins with {head[:8]!r})"
    raise PictureError(path, expected=READ, got=got)


def unread(path: Path, name: str, command: str) -> PictureError:
    """The error for a known kind of file that cannot be read."""
    how = f"; convert it first: {command}" if command else ""
    return PictureError(path, expected=READ, got=name + how)

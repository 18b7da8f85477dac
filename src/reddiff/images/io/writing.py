"""Write pictures to files. A file is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from reddiff.errors import InvalidArgument, PictureError, require
from reddiff.files import check_target, write_whole
from reddiff.images.io.encoders import encode_as
from reddiff.images.io.picture import Picture

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
WITHOUT_ALPHA = ("JPEG", "BMP", "PPM")


def write_picture(
    path: str | Path, picture: Picture, *, quality: int = 95, force: bool = False
) -> None:
    """Write a picture in the format of the file's suffix. The file is written whole or not at all.

    PNG, PPM and TIFF are lossless with `picture.bits` bits; JPEG, WebP and BMP have 8. Floats stay
    floats in TIFF and become 16 bits otherwise. Pixels are rounded to the nearest level; those
    outside [0, 1] become black or white. The profile (if it fits the channels), EXIF, XMP,
    resolution and texts are kept if the format can store them. In JPEG, EXIF and XMP above 64 kB
    are omitted. WebP has no gray, which becomes RGB.

    Arguments:
        path: The file: .png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp, .ppm or .pgm.
        picture: The picture.
        quality: Quality of JPEG (without chroma subsampling) and WebP, 1 to 100; WebP with quality
            100 is lossless.
        force: Replace an existing file.

    Raises:
        PictureError: If `check_output` raises it, the picture is too large for the format or
            contains nan or inf, or the file cannot be written.
        InvalidArgument: If `quality` is out of range.
    """
    path = Path(path)
    check_output(path, alpha=picture.alpha is not None, force=force)
    write_whole(path, encode(path, picture, quality=quality), force=force)


def encode(path: str | Path, picture: Picture, *, quality: int = 95) -> bytes:
    """The bytes that `write_picture` writes. Arguments and errors as for `write_picture`."""
    path = Path(path)
    require(1 <= quality <= 100, "quality", expected="1 to 100", got=quality)
    kind = _format(path, alpha=picture.alpha is not None)
    try:
        return encode_as(kind, picture, quality)
    except InvalidArgument as error:
        raise PictureError(path, expected=error.expected, got=error.got) from error
    except Exception as error:  # encoders raise various errors if a picture is too large
        height, width = picture.size
        got = f"one of {width}x{height} pixels ({' '.join(str(error).split())})"
        raise PictureError(path, expected=f"a picture that {kind} can hold", got=got) from error


def check_output(
    path: str | Path, *, alpha: bool = False, force: bool = False, parents: bool = False
) -> str:
    """Check, before any work, that `write_picture` can write a file; returns the format.

    Arguments:
        path: The file to be written.
        alpha: Whether the picture will have alpha, which JPEG, BMP and PPM cannot store.
        force: Replace an existing file, see `check_target`.
        parents: Whether the folder may be missing.

    Raises:
        PictureError: If no format has this suffix, the format cannot store alpha, or `check_target`
            raises it.
    """
    path = Path(path)
    kind = _format(path, alpha=alpha)
    check_target(path, force=force, parents=parents)
    return kind


def _format(path: Path, *, alpha: bool) -> str:
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        got = f"'{path.suffix}'" if path.suffix else "no suffix"
        raise PictureError(path, expected=f"a name that ends in {', '.join(FORMATS)}", got=got)
    if alpha and kind in WITHOUT_ALPHA:
        expected = f"a picture without alpha for {kind} (.png, .webp and .tif keep it)"
        raise PictureError(path, expected=expected, got="one with alpha")
    return kind

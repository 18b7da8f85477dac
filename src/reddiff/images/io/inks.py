"""Convert CMYK to RGB."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageCms

BY_PROFILE = "The picture is CMYK: it was converted to sRGB by its profile."
PLAINLY = "The picture is CMYK without a usable profile: its colors are approximate."


def to_rgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, str]:
    """Convert a CMYK image to RGB; returns it with a note."""
    if icc is not None and icc[16:20] == b"CMYK":
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(icc))
            target = ImageCms.createProfile("sRGB")
            found = ImageCms.profileToProfile(image, profile, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            return image.convert("RGB"), PLAINLY
        if found is not None:
            return found, BY_PROFILE
    return image.convert("RGB"), PLAINLY

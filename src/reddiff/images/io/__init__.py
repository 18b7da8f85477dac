"""Read and write pictures, masks and kernels. Pixels are in [0, 1]."""

from reddiff.files import check_target, write_whole
from reddiff.images.io.inputs import read_kernel, read_mask
from reddiff.images.io.kernels import Kernel, as_kernel
from reddiff.images.io.openers import MAX_PIXELS
from reddiff.images.io.picture import Image, Picture, as_range
from reddiff.images.io.reading import picture_size, read_picture
from reddiff.images.io.sources import as_picture
from reddiff.images.io.writing import check_output, encode, write_picture

__all__ = [
    "MAX_PIXELS",
    "Image",
    "Kernel",
    "Picture",
    "as_kernel",
    "as_picture",
    "as_range",
    "check_output",
    "check_target",
    "encode",
    "picture_size",
    "read_kernel",
    "read_mask",
    "read_picture",
    "write_picture",
    "write_whole",
]

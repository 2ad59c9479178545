"""The only package that opens or writes a picture. Arrays are RGB, uint8, upright; files are whole or absent.

- Roles: `read_image` for photos, `read_background`, `read_alpha`, `read_cutout`, `read_mask`, `read_trimap`;
  `read_gray` and `read_channels` return what a file has. `read_size` reads the header alone
- Files: `find` lists the pictures of a folder; `Encoded` is a file in memory
- `read_estimate` says whether an alpha is an estimate of ours
- Writing: `write_png`, `write_jpeg`, `encode`
- Inside: `formats` says what is read, `opening` opens it by Pillow, `containers` and `integrity` look at its bytes

A file that cannot be used is a ShmDataError with its path.
"""

from shm_data.images.decoding import (
    is_lossy,
    read_background,
    read_channels,
    read_estimate,
    read_image,
    read_orientation,
    read_size,
)
from shm_data.images.encoding import encode, encode_indexed, with_comment, write_jpeg, write_png
from shm_data.images.formats import EXTENSIONS
from shm_data.images.listing import find, require_folder
from shm_data.images.masks import read_mask
from shm_data.images.mattes import (
    HIGHEST_OF_LABELS,
    is_gray,
    read_alpha,
    read_cutout,
    read_gray,
    read_matte,
    read_trimap,
    require_opacities,
)
from shm_data.images.opening import Encoded, File

__all__ = [
    "EXTENSIONS",
    "HIGHEST_OF_LABELS",
    "Encoded",
    "File",
    "encode",
    "encode_indexed",
    "find",
    "is_gray",
    "is_lossy",
    "read_alpha",
    "read_background",
    "read_channels",
    "read_cutout",
    "read_estimate",
    "read_gray",
    "read_image",
    "read_mask",
    "read_matte",
    "read_orientation",
    "read_size",
    "read_trimap",
    "require_folder",
    "require_opacities",
    "with_comment",
    "write_jpeg",
    "write_png",
]

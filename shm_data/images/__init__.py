"""The only package that opens or writes a picture. Arrays are RGB, uint8, upright; files are whole or absent."""

from shm_data.images.decoding import is_lossy, read_channels, read_image, read_reduced, read_size
from shm_data.images.encoding import encode, write_jpeg, write_png
from shm_data.images.listing import EXTENSIONS, find, require_folder
from shm_data.images.mattes import is_gray, read_alpha, read_cutout, read_gray, read_trimap
from shm_data.images.opening import Encoded, File

__all__ = [
    "EXTENSIONS",
    "Encoded",
    "File",
    "encode",
    "find",
    "is_gray",
    "is_lossy",
    "read_alpha",
    "read_channels",
    "read_cutout",
    "read_gray",
    "read_image",
    "read_reduced",
    "read_size",
    "read_trimap",
    "require_folder",
    "write_jpeg",
    "write_png",
]

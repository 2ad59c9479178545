"""The only package that opens or writes a picture. Arrays are RGB, uint8, upright; files are whole or absent."""

from shm_data.images.decoding import Encoded, File, Header, read_channels, read_header, read_image, read_reduced
from shm_data.images.encoding import encode, write_jpeg, write_png
from shm_data.images.listing import EXTENSIONS, find, require_folder
from shm_data.images.mattes import is_gray, read_alpha, read_cutout, read_gray, read_trimap

__all__ = [
    "EXTENSIONS",
    "Encoded",
    "File",
    "Header",
    "encode",
    "find",
    "is_gray",
    "read_alpha",
    "read_channels",
    "read_cutout",
    "read_gray",
    "read_header",
    "read_image",
    "read_reduced",
    "read_trimap",
    "require_folder",
    "write_jpeg",
    "write_png",
]

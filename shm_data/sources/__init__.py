"""What a data set is made from: foregrounds with their alphas, and backgrounds without people. See `scan` in each."""

from shm_data.sources import backgrounds, foregrounds
from shm_data.sources.backgrounds import Pool
from shm_data.sources.foregrounds import Found
from shm_data.sources.types import Background, Files, Foreground, Pixels, path_of

__all__ = ["Background", "Files", "Foreground", "Found", "Pixels", "Pool", "backgrounds", "foregrounds", "path_of"]

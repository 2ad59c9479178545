"""What a data set is made from: foregrounds with their alphas, and backgrounds without people.

- `foregrounds`: `scan` lists and pairs them, `inspect_all` reads and checks them, `read` gives the pixels of one
- `backgrounds`: `scan` lists them; `coco`, `voc` and `background_folders` know each kind
- `pairing`: which names belong together
"""

from shm_data.sources.types import Background, Files, Foreground, Pixels, path_of

__all__ = ["Background", "Files", "Foreground", "Pixels", "path_of"]

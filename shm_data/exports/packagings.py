"""The folders of each kind of export."""

from collections.abc import Mapping
from dataclasses import dataclass

from shm_data.dataset.hub_header import Packaging
from shm_data.exports.record import Kind


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of images, alphas and trimaps in that of a split; without `trimaps` there are none."""

    images: str
    alphas: str
    trimaps: str | None = None

    @property
    def each(self) -> tuple[str | None, ...]:
        """The three folders in order."""
        return self.images, self.alphas, self.trimaps


FOLDERS: Mapping[Kind, Folders] = {
    "hf": Folders("images", "alphas", "trimaps"),
    "birefnet": Folders("im", "gt"),
    "pairs": Folders("image", "alpha"),
    "fg-alpha-bg": Folders("fg", "alpha"),
}

_TABLE = "SPLIT/metadata.csv  the paths of these files, foreground, background and recipe of each sample"


def _packaging(kind: Kind, *files: str) -> Packaging:
    configs = {"default": ("{split}/**",)}
    return Packaging(configs, files, command=f"shm-data export DATASET --to {kind} --savedir EXPORT")


PACKAGINGS: Mapping[Kind, Packaging] = {
    "hf": _packaging(
        "hf",
        "SPLIT/images/       {image}",
        "SPLIT/alphas/       alpha, 8-bit gray: 0 background to 255 foreground",
        "SPLIT/trimaps/      0 background, 128 unknown, 255 foreground",
        _TABLE,
    ),
    "birefnet": _packaging(
        "birefnet",
        "SPLIT/im/           {image}",
        "SPLIT/gt/           alpha, 8-bit gray: 0 background to 255 foreground",
        _TABLE,
    ),
    "pairs": _packaging(
        "pairs",
        "SPLIT.txt           the paths of an image and its alpha a line, with a space between",
        "SPLIT/image/        {image}",
        "SPLIT/alpha/        alpha, 8-bit gray: 0 background to 255 foreground",
        _TABLE,
    ),
    "fg-alpha-bg": Packaging(
        configs={
            "default": ("{split}/metadata.csv", "{split}/fg/*", "{split}/alpha/*"),
            "backgrounds": ("{split}/bg/*",),
        },
        files=(
            "SPLIT_fg.txt        the names of the foregrounds of a split, one a line",
            "SPLIT_bg.txt        the names of its backgrounds, one a line",
            "SPLIT/fg/NAME.png   colours of a foreground without its old background, 8-bit RGB",
            "SPLIT/alpha/NAME.png alpha, 8-bit gray: 0 background to 255 foreground",
            "SPLIT/bg/           backgrounds, unchanged files, each once",
            "SPLIT/metadata.csv  the paths of colours and alphas, and the photo that each is made of",
        ),
        command="shm-data export DATASET --to fg-alpha-bg --savedir EXPORT",
    ),
}

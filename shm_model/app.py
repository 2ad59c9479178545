"""A page to try a network on: a photo goes in; trimap, matte and the cut-out on a background of choice come out."""

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gradio
import numpy as np

from shm_data.errors import ShmDataError
from shm_data.images import read_image, read_trimap, write_png
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import blend
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_model.predict import Predictor
from shm_model.predict.outputs import covering

Kind = Literal["transparent", "colour", "picture"]

_GREEN = "#27a35a"
_CHECKERBOARD = """
.checkered img { background: repeating-conic-gradient(#d8d8d8 0 25%, #fbfbfb 0 50%) 0 0 / 20px 20px; }
"""

# Of so many visitors the last cut-out is kept for their next background.
_VISITORS = 16

# Seconds after which files that were shown are deleted, and between two looks for such.
_KEPT = (3600, 600)


class Cutout(NamedTuple):
    """The foreground's colours (H, W, 3) uint8, freed of the old background, and its alpha (H, W) uint8."""

    colours: Array
    alpha: Array


def laid(cutout: Cutout, kind: Kind, colour: str, picture: Array | None = None) -> Array:
    """The cut-out as it is, (H, W, 4) uint8 RGBA, or laid on a colour or a picture, (H, W, 3) uint8.

    `colour` is #rrggbb, or rgb(...) or rgba(...) with levels from 0 to 255. A `picture` (h, w, 3) uint8 is cut to
    its middle and resized to cover the whole.
    """
    if kind == "transparent":
        return np.dstack(cutout)
    chosen = np.array([[_levels(colour)]], np.uint8) if kind == "colour" or picture is None else picture
    height, width = cutout.alpha.shape
    return blend(*cutout, covering(chosen, (width, height)))


def page(predictor: Predictor, folder: Path) -> gradio.Blocks:
    """The page. What it shows is written into `folder`, and deleted after an hour."""

    def matte(photo: str | None, trimap: str | None, *background: Any) -> tuple[Any, ...]:
        if photo is None or (predictor.needs_trimap and trimap is None):
            return (None,) * 5
        image = read_image(Path(photo))
        prediction = predictor(image, None if trimap is None else read_trimap(Path(trimap)))
        alpha = np.rint(prediction.alpha * 255).astype(np.uint8)
        cutout = Cutout(estimate_foreground(image, alpha), alpha)
        shown = _written(folder, "trimap", prediction.trimap), _written(folder, "alpha", alpha)
        return *shown, cutout, *over(cutout, *background)

    def over(cutout: Cutout | None, kind: Kind, colour: str, picture: str | None) -> tuple[str | None, str | None]:
        if cutout is None:
            return None, None
        behind = None if picture is None else read_image(Path(picture))
        path = _written(folder, "cutout", laid(cutout, kind, colour, behind))
        return path, path

    blocks = gradio.Blocks(title="Matte a photo", analytics_enabled=False, delete_cache=_KEPT)
    with blocks:
        gradio.Markdown("# Matte a photo")
        cutout = gradio.State()
        with gradio.Row():
            photo, trimap = _dropped("Photo"), _dropped("Its trimap", visible=predictor.needs_trimap)
            with gradio.Column():
                background = _background()
        with gradio.Row():
            shown = [_shown("Trimap"), _shown("Matte"), _shown("Cut-out", elem_classes="checkered")]
        save = gradio.DownloadButton("Download PNG")
        for given in (photo, trimap):
            given.change(_told(matte), [photo, trimap, *background], [*shown[:2], cutout, shown[2], save])
        for choice in background:
            choice.change(_told(over), [cutout, *background], [shown[2], save])
    return blocks


@contextmanager
def served(predictor: Predictor, host: str = "127.0.0.1", port: int | None = None) -> Iterator[str]:
    """Serves the page at the address that it gives, for as long as the context is open.

    Without a `port` it is a free one from 7860 on. Raises ShmDataError where there is none at this host.
    """
    with tempfile.TemporaryDirectory(prefix="shm-model-") as folder:
        blocks = page(predictor, Path(folder))
        blocks.queue(default_concurrency_limit=1)  # one network, one photo at a time
        try:
            yield _launched(blocks, host, port)
        finally:
            blocks.close(verbose=False)


def _launched(blocks: gradio.Blocks, host: str, port: int | None) -> str:
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            css=_CHECKERBOARD,
            footer_links=[],
            state_session_capacity=_VISITORS,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
        )
    except OSError as error:
        found = f"no free port{f' {port}' * (port is not None)} at {host}"
        raise ShmDataError("the page cannot be served", found=found, expected="another --port or --host") from error
    return address


def _background() -> list[Any]:
    """The choice of a background: its kind, and a colour or a picture, which show when they are asked for."""
    kinds: tuple[Kind, ...] = ("transparent", "colour", "picture")
    kind = gradio.Radio(kinds, value=kinds[0], label="Background")
    colour = gradio.ColorPicker(_GREEN, label="Colour", visible=False)
    picture = _dropped("Picture", visible=False)
    kind.change(lambda now: [gradio.update(visible=now == each) for each in kinds[1:]], kind, [colour, picture])
    return [kind, colour, picture]


def _dropped(label: str, **options: Any) -> gradio.Image:
    """A picture whose file is handed on as it came: whether and how it can be read is for our own reader to say."""
    image = gradio.Image(type="filepath", sources=["upload", "clipboard"], label=label, **options)
    image.preprocess = lambda file: None if file is None else file.path  # type: ignore[assignment, method-assign]
    return image


def _shown(label: str, **options: Any) -> gradio.Image:
    return gradio.Image(label=label, interactive=False, buttons=["fullscreen"], **options)


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose refusals the page shows as they are."""

    @wraps(function)
    def told(*given: Any) -> Any:
        try:
            return function(*given)
        except ShmDataError as error:
            raise gradio.Error(str(error), print_exception=False) from error

    return told


def _levels(colour: str) -> tuple[int, ...]:
    if colour.startswith("#"):
        return tuple(bytes.fromhex(colour[1:7]))
    return tuple(round(float(level)) for level in re.findall(r"[\d.]+", colour)[:3])


def _written(folder: Path, name: str, pixels: Array) -> str:
    """Writes a picture as NAME.png into a new folder in `folder`, and tells where; old ones go."""
    for old in folder.iterdir():
        if old.stat().st_mtime < time.time() - _KEPT[0]:
            shutil.rmtree(old, ignore_errors=True)
    path = Path(tempfile.mkdtemp(dir=folder)) / f"{name}.png"
    write_png(path, pixels)
    return str(path)

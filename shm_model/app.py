"""A web page to try a network: upload a photo; see its trimap, its matte and the cut-out over a background."""

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
from shm_model.predict.outputs import crop_to_cover

Kind = Literal["transparent", "colour", "picture"]

_GREEN = "#27a35a"
_CHECKERBOARD = """
.checkered img { background: repeating-conic-gradient(#d8d8d8 0 25%, #fbfbfb 0 50%) 0 0 / 20px 20px; }
"""

# Number of visitors whose last cut-out the page keeps, to composite it over their next background.
_VISITORS = 16

# Files that were shown are deleted after an hour. gradio's delete_cache is (frequency, age), in seconds.
_AGE = 3600
_FREQUENCY = 600

# The colours that the page's picker writes; A is ignored.
_HEX = re.compile(r"#([\da-f]{2})([\da-f]{2})([\da-f]{2})(?:[\da-f]{2})?", re.IGNORECASE)
_LEVEL = r"\s*(\d+(?:\.\d+)?)\s*"
_RGB = re.compile(rf"rgba?\({_LEVEL},{_LEVEL},{_LEVEL}(?:,[^,]*)?\)")


class Cutout(NamedTuple):
    """The foreground colours (H, W, 3) uint8, estimated without the old background, and the alpha (H, W) uint8."""

    colours: Array
    alpha: Array


def composite_cutout(cutout: Cutout, kind: Kind, colour: str, picture: Array | None = None) -> Array:
    """Return the cut-out (H, W, 4) uint8 RGBA, or its composite over a colour or a picture (H, W, 3) uint8.

    `colour` is #rrggbb, or rgb(...) or rgba(...) with levels from 0 to 255. A `picture` (h, w, 3) uint8 is resized
    to cover the whole, and its middle cropped. Raises ShmDataError for another `colour`.
    """
    if kind == "transparent":
        return np.dstack(cutout)
    background = np.array([[_parse_colour(colour)]], np.uint8) if kind == "colour" or picture is None else picture
    height, width = cutout.alpha.shape
    return blend(*cutout, crop_to_cover(background, (width, height)))


def build_page(predictor: Predictor, folder: Path) -> gradio.Blocks:
    """Return the page. The pictures that it shows are written into `folder`, and deleted after an hour."""

    def show_matte(photo: str | None, trimap: str | None, *background: Any) -> tuple[Any, ...]:
        if photo is None or (predictor.needs_trimap and trimap is None):
            return (None,) * 5
        image = read_image(Path(photo))
        prediction = predictor(image, None if trimap is None else read_trimap(Path(trimap)))
        alpha = np.rint(prediction.alpha * 255).astype(np.uint8)
        cutout = Cutout(estimate_foreground(image, alpha), alpha)
        files = _write(folder, "trimap", prediction.trimap), _write(folder, "alpha", alpha)
        return *files, cutout, *show_cutout(cutout, *background)

    def show_cutout(
        cutout: Cutout | None, kind: Kind, colour: str, picture: str | None
    ) -> tuple[str | None, str | None]:
        if cutout is None:
            return None, None
        behind = None if picture is None else read_image(Path(picture))
        path = _write(folder, "cutout", composite_cutout(cutout, kind, colour, behind))
        return path, path

    blocks = gradio.Blocks(title="Matte a photo", analytics_enabled=False, delete_cache=(_FREQUENCY, _AGE))
    with blocks:
        gradio.Markdown("# Matte a photo")
        cutout = gradio.State()
        with gradio.Row():
            photo, trimap = _upload("Photo"), _upload("Its trimap", visible=predictor.needs_trimap)
            with gradio.Column():
                background = _background_choice()
        with gradio.Row():
            shown = [_display("Trimap"), _display("Matte"), _display("Cut-out", elem_classes="checkered")]
        save = gradio.DownloadButton("Download PNG")
        outputs = [*shown[:2], cutout, shown[2], save]
        for upload in (photo, trimap):
            upload.change(_with_page_errors(show_matte), [photo, trimap, *background], outputs)
        for choice in background:
            choice.change(_with_page_errors(show_cutout), [cutout, *background], [shown[2], save])
    return blocks


@contextmanager
def serve(predictor: Predictor, host: str = "127.0.0.1", port: int | None = None) -> Iterator[str]:
    """Serve the page while the context is open, and yield its address.

    Without a `port` a free one from 7860 on is used. Raises ShmDataError where the host has none.
    """
    with tempfile.TemporaryDirectory(prefix="shm-model-") as folder:
        blocks = build_page(predictor, Path(folder))
        blocks.queue(default_concurrency_limit=1)  # one network, one photo at a time
        try:
            yield _launch(blocks, host, port)
        finally:
            blocks.close(verbose=False)


def _launch(blocks: gradio.Blocks, host: str, port: int | None) -> str:
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


def _background_choice() -> list[Any]:
    """Return the inputs for a background: its kind, a colour and a picture, of which the kind shows one."""
    kinds: tuple[Kind, ...] = ("transparent", "colour", "picture")
    kind = gradio.Radio(kinds, value=kinds[0], label="Background")
    colour = gradio.ColorPicker(_GREEN, label="Colour", visible=False)
    picture = _upload("Picture", visible=False)
    kind.change(lambda chosen: [gradio.update(visible=chosen == each) for each in kinds[1:]], kind, [colour, picture])
    return [kind, colour, picture]


def _upload(label: str, **options: Any) -> gradio.Image:
    """Return an input for a picture that passes its file on unread, so that our own reader decodes it."""
    image = gradio.Image(type="filepath", sources=["upload", "clipboard"], label=label, **options)
    image.preprocess = lambda file: None if file is None else file.path  # type: ignore[assignment, method-assign]
    return image


def _display(label: str, **options: Any) -> gradio.Image:
    return gradio.Image(label=label, interactive=False, buttons=["fullscreen"], **options)


def _with_page_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its ShmDataErrors as messages on the page."""

    @wraps(function)
    def wrapped(*inputs: Any) -> Any:
        try:
            return function(*inputs)
        except ShmDataError as error:
            raise gradio.Error(str(error), print_exception=False) from error

    return wrapped


def _parse_colour(colour: str) -> tuple[int, ...]:
    """Return the levels (R, G, B) of a colour as the page's picker writes it."""
    levels: tuple[int, ...] = (256,)
    if found := _HEX.fullmatch(colour):
        levels = tuple(int(level, 16) for level in found.groups())
    elif found := _RGB.fullmatch(colour):
        levels = tuple(round(float(level)) for level in found.groups())
    if max(levels) > 255:
        raise ShmDataError("the colour", found=colour, expected="#rrggbb, or rgb(...) with levels from 0 to 255")
    return levels


def _write(folder: Path, name: str, pixels: Array) -> str:
    """Write a picture as NAME.png into a new folder in `folder`, delete old ones, and return its path."""
    for old in folder.iterdir():
        if old.stat().st_mtime < time.time() - _AGE:
            shutil.rmtree(old, ignore_errors=True)
    path = Path(tempfile.mkdtemp(dir=folder)) / f"{name}.png"
    write_png(path, pixels)
    return str(path)

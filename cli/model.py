"""The commands of `shm-model`: each parses, calls the library once, and prints."""

import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.entry import run, until_interrupted
from shm_data import __version__

if TYPE_CHECKING:
    from shm_model.config import Config
    from shm_model.samples import Source

_PATH = click.Path(path_type=Path)

device_option = click.option(
    "--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps.  [default: cuda if there is a GPU, else cpu]"
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="shm-model")
def model() -> None:
    """Train T-Net, M-Net and their fusion, score them, and predict mattes."""


@model.command()
@click.argument("config", type=_PATH)
@click.argument("overrides", nargs=-1)
def train(config: Path, overrides: tuple[str, ...]) -> None:
    """Train by CONFIG, a YAML file. OVERRIDES are key=value and replace values of the file.

    To resume a run that was stopped, run the same command again: it continues after the last finished epoch.
    """
    from cli.progress import print_line, show
    from shm_model.config import load_config

    checked = load_config(config, overrides)
    if checked.mode == "test":
        paths = [checked.shm_checkpoint, checked.tnet_checkpoint, checked.mnet_checkpoint]
        device = None if checked.cuda else "cpu"
        _evaluate(next(path for path in paths if path), _val_of(checked), checked.savedir, device)
        return
    # Ctrl-C ends the program at once; the process that then frees its semaphores need not warn of them.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    from shm_model.train import train as train_model

    outcome = train_model(checked, show, print_line)
    if not outcome.is_main:
        return
    if not outcome.batches:
        text = (
            f"{outcome.last} has {outcome.done} epochs. To train more, set max_epoch=N; to start anew, resume=false."
        )
        click.echo(text)
    elif outcome.begun == outcome.done:
        done = f"{outcome.batches} batches of epoch {outcome.done + 1} are done"
        click.echo(f"{done}; the last checkpoint is {outcome.last}.")
    else:
        click.echo(f"Epochs {outcome.begun + 1} to {outcome.done} are done; the last checkpoint is {outcome.last}.")


@model.command()
@click.option("--checkpoint", type=_PATH, required=True, help="Checkpoint to score.")
@click.option("--data", type=_PATH, required=True, help="Folder of a data set made by shm-data, or of its shards.")
@click.option(
    "--split", type=click.Choice(["train", "val"]), default="val", show_default=True, help="Split to score."
)
@click.option("--savedir", type=_PATH, help="Folder for scores.csv, scores.json and samples.png.")
@device_option
def evaluate(checkpoint: Path, data: Path, split: str, savedir: Path | None, device: str | None) -> None:
    """Score a checkpoint on a data set: SAD, MSE, MAD, Grad, Conn, and the trimap's IoU."""
    _evaluate(checkpoint, partial(_source_in, data, split), savedir, device)


@model.command()
@click.argument("predictions", type=_PATH)
@click.argument("truth", type=_PATH)
@click.option("--trimap", type=_PATH, help="Folder of trimaps, by name; scores the unknown region, too.")
@click.option("--derive-trimap", is_flag=True, help="Derive trimaps from the truth.")
@click.option("--images", type=_PATH, help="Folder of photos, by name, to show in scores.html.")
@click.option(
    "--region",
    type=click.Choice(["whole", "unknown", "foreground", "background", "edge"]),
    multiple=True,
    help="Region to score; give it once for each.  [default: whole; with trimaps all]",
)
@click.option(
    "--protocol",
    type=click.Choice(["adobe", "p3m", "ppm100", "photomatte85", "video", "shm"]),
    help="Score as a published test set is scored: regions, trimaps and scale.",
)
@click.option(
    "--convention",
    type=click.Choice(["adobe", "video", "mean", "raw"]),
    help="Scale of the numbers.  [default: that of the protocol, else adobe]",
)
@click.option("--frames", is_flag=True, help="The files of each folder are frames of a video: score dtSSD, too.")
@click.option("--resize", is_flag=True, help="Resize predictions of another size to the truth; the result names it.")
@click.option(
    "--prefix", default="", metavar="WORD", help="Word before or after the names of one side, such as _pred."
)
@click.option("--savedir", type=_PATH, help="Folder for scores.csv, scores.json and scores.html.")
def score(predictions: Path, truth: Path, **options: Any) -> None:
    """Score PREDICTIONS of any model against TRUTH: two folders of mattes, paired by name, or two files."""
    from cli.progress import show
    from shm_data.files import make_folders, shared_folder
    from shm_model import scoring

    savedir, images = options.pop("savedir"), options.pop("images")
    if savedir:
        scoring.require_own_scores(savedir)
    chosen, convention, header = scoring.plan_scoring(**options)
    rows = scoring.score_folders(predictions, truth, chosen, show)
    for line in (*(f"{key}: {value}" for key, value in header.items()), *scoring.format_scores(rows, convention)):
        click.echo(line)
    if savedir:
        make_folders(savedir)
        with shared_folder(savedir):
            scoring.write_scores(rows, convention, header, savedir)
            scoring.write_page(rows, convention, header, savedir, options=chosen, images=images)
        click.echo(f"scores.csv, scores.json and scores.html are in {savedir}.")


@model.command()
@click.argument("pictures", nargs=-1, required=True, type=_PATH)
@click.option("--checkpoint", type=_PATH, help="Checkpoint to predict with.")
@click.option("--onnx", type=_PATH, help="Predict with this file of shm-model export instead of a checkpoint.")
@click.option("--trimap", type=_PATH, help="Trimap, or folder of trimaps; needed for the checkpoint of an M-Net.")
@click.option("--savedir", type=_PATH, default=Path("predictions"), show_default=True, help="Folder for the mattes.")
@click.option(
    "--output",
    type=click.Choice(["alpha", "cutout", "composite"]),
    multiple=True,
    help="What to write; give it once for each.  [default: alpha, cutout; for videos alpha, composite]",
)
@click.option(
    "--background",
    default="#00ff00",
    show_default=True,
    metavar="COLOUR|FILE",
    help="Background of composites: #00ff00, white, or a picture, which is cropped to fit.",
)
@click.option(
    "--video",
    type=click.Choice(["mp4", "avi", "mkv"]),
    default="mp4",
    show_default=True,
    help="Format of videos: MPEG-4, Motion JPEG, or lossless FFV1.",
)
@click.option(
    "--longest",
    type=click.IntRange(32, 2**15),
    metavar="PX",
    help="Long edge of the network's input.  [default: that of the checkpoint]",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of pictures of one size that are predicted together.",
)
@click.option("--half", is_flag=True, help="Use half precision: faster on GPUs; a few pixels differ.")
@click.option(
    "--skip-done", is_flag=True, help="Skip sources whose outputs were made from the same files and options."
)
@device_option
def predict(
    *,
    pictures: tuple[Path, ...],
    checkpoint: Path | None,
    onnx: Path | None,
    trimap: Path | None,
    savedir: Path,
    output: tuple[Any, ...],
    background: str,
    video: str,
    longest: int | None,
    batch: int,
    half: bool,
    skip_done: bool,
    device: str | None,
) -> None:
    """Predict mattes of PICTURES: photos, folders of photos, videos.

    For a photo, NAME.png is its alpha, NAME_cutout.png the foreground in RGBA, NAME_composite.png the foreground over
    another background. For a video, NAME_alpha.mp4 and NAME_composite.mp4 are written, with the sound.
    """
    from cli.progress import show
    from shm_data.errors import ShmDataError

    if (checkpoint is None) == (onnx is None):
        raise ShmDataError("predict", found="both" if onnx else "neither", expected="either --checkpoint or --onnx")
    if onnx and half:
        raise ShmDataError("--half", found="an ONNX file, which has full precision", expected="--checkpoint")
    predictor = _predictor(checkpoint, onnx, device, half)
    from shm_model.predict import PredictOptions, predict_files
    from shm_model.predict.outputs import parse_background

    options = PredictOptions(output, parse_background(background), batch, video, skip_done)
    predictor = replace(predictor, longest=longest) if longest else predictor
    outcome = predict_files(predictor, pictures, trimap, savedir, show, options=options)
    skipped = f"; {outcome.skipped} {'was' if outcome.skipped == 1 else 'were'} there already" * bool(outcome.skipped)
    if outcome.pictures or skipped or not outcome.videos:
        mattes = "1 matte is" if outcome.pictures == 1 else f"{outcome.pictures} mattes are"
        click.echo(f"{mattes} in {savedir}{skipped}.")
    for path, predicted in outcome.videos.items():
        sound = {None: "", True: ", with the sound,", False: f", without the sound ({video} cannot hold it),"}
        click.echo(f"{predicted.frames} frames of {path.name}{sound[predicted.sound]} are in {savedir}.")
        if predicted.missing:
            total = predicted.frames + predicted.missing
            click.echo(f"note: of {total} frames of {path.name}, {predicted.missing} cannot be decoded.")


@model.command()
@click.option("--checkpoint", type=_PATH, required=True, help="Checkpoint to export.")
@click.option(
    "--out", type=_PATH, required=True, help="File to write: NAME.onnx, or NAME.pt2 for the format of torch.export."
)
def export(checkpoint: Path, out: Path) -> None:
    """Export a checkpoint for use without this package. Batch size, height and width stay variable."""
    from shm_model.export import export as export_to

    export_to(checkpoint, out)
    click.echo(f"The network is in {out}, {out.stat().st_size / 1e6:.1f} MB.")


@model.command()
@click.option("--checkpoint", type=_PATH, required=True, help="Checkpoint to predict with.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 serves the whole network."
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: the first free one from 7860]"
)
@device_option
def app(checkpoint: Path, host: str, port: int | None, device: str | None) -> None:
    """Serve a page that shows trimap, matte and cut-out of photos that you drop on it."""
    from shm_model.app import serve
    from shm_model.distributed import device_named
    from shm_model.predict import load_predictor

    with until_interrupted(), serve(load_predictor(checkpoint, device_named(device)), host, port) as address:
        click.echo(f"The page is at {address}. Press Ctrl-C to stop.")
        threading.Event().wait()


def _predictor(checkpoint: Path | None, onnx: Path | None, device: str | None, half: bool) -> Any:
    """Load the predictor of whichever is given; for an ONNX file without torch."""
    if onnx:
        from shm_model.predict.onnx_predictor import load_onnx_predictor

        return load_onnx_predictor(onnx, device)
    from shm_model.distributed import device_named
    from shm_model.predict import load_predictor

    assert checkpoint is not None
    return load_predictor(checkpoint, device_named(device), half)


def _source_in(root: Path, split: str) -> "Source":
    from shm_model.samples import kind_of, source_of

    return source_of(kind_of(root), root, split)


def _val_of(config: "Config") -> Callable[[], "Source"]:
    """Return what opens val: of one folder by its files, of several as configured."""
    from shm_model.roots import validation_source

    if isinstance(config.data_root, Path):
        return partial(_source_in, config.data_root, "val")
    return partial(validation_source, config)


def _evaluate(
    checkpoint: Path, open_source: Callable[[], "Source"], savedir: Path | None, device: str | None
) -> None:
    from cli.progress import show
    from shm_data.files import make_folders, shared_folder
    from shm_model.distributed import device_named
    from shm_model.evaluate import draw_panels, format_table, require_own_tables, write_panels, write_tables
    from shm_model.evaluate import evaluate as score
    from shm_model.predict import load_predictor

    if savedir:
        require_own_tables(savedir)
    predictor, source = load_predictor(checkpoint, device_named(device)), open_source()
    rows = score(predictor, source, show)
    for line in format_table(rows):
        click.echo(line)
    if savedir:
        make_folders(savedir)
        with shared_folder(savedir):
            write_tables(rows, savedir)
            some = range(0, len(rows), max(1, len(rows) // 6))[:6]
            write_panels(savedir, draw_panels(predictor, source, some))
        click.echo(f"The scores and samples.png (image | trimap | alpha | truth) are in {savedir}.")


def main() -> None:
    """Run the program `shm-model`."""
    run(model)


if __name__ == "__main__":  # for torchrun -m cli.model
    main()

"""`shm-model`: trains matting networks, scores them, predicts with them."""

import os
from pathlib import Path

import click

from cli.entry import run
from shm_data import __version__

_PATH = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="shm-model")
def model() -> None:
    """Trains T-Net, M-Net and their fusion, scores them, and predicts mattes."""


@model.command()
@click.argument("config", type=_PATH)
@click.argument("overrides", nargs=-1)
def train(config: Path, overrides: tuple[str, ...]) -> None:
    """Train as CONFIG, a YAML file, says; OVERRIDES are key=value.

    A run that was stopped goes on from its last epoch when the same command runs again.
    """
    from cli.progress import show
    from shm_model.config import load_config

    checked = load_config(config, overrides)
    if checked.mode == "test":
        paths = [checked.shm_checkpoint, checked.tnet_checkpoint, checked.mnet_checkpoint]
        _evaluate(next(path for path in paths if path), checked.data_root, "val", checked.savedir, checked.cuda)
        return
    from shm_model.train import train as train_model

    outcome = train_model(checked, show)
    if int(os.environ.get("RANK", "0")):
        return  # of several processes the first tells
    if outcome.begun == outcome.done:
        click.echo(f"{outcome.last} has done {outcome.done} epochs already; more: max_epoch=N, anew: resume=false.")
    else:
        click.echo(f"Epochs {outcome.begun + 1} to {outcome.done} are done; the last checkpoint is {outcome.last}.")


@model.command()
@click.option("--checkpoint", type=_PATH, required=True, help="What to score.")
@click.option("--data", type=_PATH, required=True, help="A data set that shm-data made.")
@click.option("--split", type=click.Choice(["train", "val"]), default="val", show_default=True)
@click.option("--savedir", type=_PATH, help="Where scores.csv, scores.json and samples.png go.")
@click.option("--cuda/--no-cuda", default=True, help="Use a GPU if there is one.")
def evaluate(checkpoint: Path, data: Path, split: str, savedir: Path | None, cuda: bool) -> None:
    """Score a checkpoint on a data set: SAD, MSE, MAD, Grad, Conn, and the trimap's IoU."""
    _evaluate(checkpoint, data, split, savedir, cuda)


@model.command()
@click.argument("pictures", nargs=-1, required=True, type=_PATH)
@click.option("--checkpoint", type=_PATH, required=True, help="What to predict with.")
@click.option("--trimap", type=_PATH, help="The trimap, or the folder of trimaps, that an M-Net alone needs.")
@click.option("--savedir", type=_PATH, default=Path("predictions"), show_default=True, help="Where the mattes go.")
@click.option("--cuda/--no-cuda", default=True, help="Use a GPU if there is one.")
def predict(pictures: tuple[Path, ...], checkpoint: Path, trimap: Path | None, savedir: Path, cuda: bool) -> None:
    """Predict mattes of PICTURES, files or folders: NAME.png holds alpha, NAME_cutout.png the foreground in RGBA."""
    from cli.progress import show
    from shm_model.place import device_for
    from shm_model.predict import predict_files, predictor_of

    count = predict_files(predictor_of(checkpoint, device_for(cuda)), pictures, trimap, savedir, show)
    click.echo(f"{count} mattes are in {savedir}.")


def _evaluate(checkpoint: Path, data: Path, split: str, savedir: Path | None, cuda: bool) -> None:
    from cli.progress import show
    from shm_data.images import write_png
    from shm_model.dataset import names_of
    from shm_model.evaluate import evaluate as score
    from shm_model.evaluate import panels, table, write_tables
    from shm_model.place import device_for
    from shm_model.predict import predictor_of

    predictor = predictor_of(checkpoint, device_for(cuda))
    rows = score(predictor, data, split, show)
    for line in table(rows):
        click.echo(line)
    if savedir:
        write_tables(rows, savedir)
        names = names_of(data, split)
        write_png(savedir / "samples.png", panels(predictor, data, names[:: max(1, len(names) // 6)][:6]))
        click.echo(f"The scores and samples.png (image | trimap | alpha | truth) are in {savedir}.")


def main() -> None:
    """The program `shm-model`."""
    run(model)


if __name__ == "__main__":  # for torchrun -m cli.model
    main()

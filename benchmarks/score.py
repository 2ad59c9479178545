"""Times the scores of one matte, beside how Python ports of the MATLAB code usually compute Grad and Conn.

Those convolve with a two-dimensional kernel by SciPy, and label each of ten levels by scikit-image.
"""

import time
from collections.abc import Callable
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from shm_model.metrics import conn, grad, scores

Floats = NDArray[np.float64]


def make_mattes(width: int, height: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a prediction and a truth (H, W) with a long, soft, wavy edge and some islands."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    distance = (
        height * 0.46 - np.hypot(y - height / 2, (x - width / 2) * 0.8) + 60 * np.sin(x / 9) + 40 * np.sin(y / 7)
    )
    truth = (np.clip(distance / 80 + 0.5, 0, 1) * 255).astype(np.uint8)
    prediction = cv2.GaussianBlur(np.roll(truth, 3, 1), (0, 0), 2).astype(np.uint8)
    prediction[::97, ::89] = 200
    return prediction, truth


def plain_grad(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Return Grad/1000 by convolutions with a kernel of 9 x 9."""
    x = np.arange(-4, 5)
    gauss = np.exp(-(x**2) / (2 * 1.4**2))
    kernel = np.outer(gauss, -x * gauss)
    kernel /= np.sqrt((kernel**2).sum())
    amplitudes = []
    for matte in (prediction, truth):
        unit = (matte - matte.min()) / np.ptp(matte)
        parts = [ndimage.convolve(unit, each, mode="nearest") for each in (kernel, kernel.T)]
        amplitudes.append(np.hypot(*parts))
    return float(((amplitudes[0] - amplitudes[1]) ** 2).sum() / 1000)


def plain_conn(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Return Conn/1000 by labels of each level."""
    p, g = prediction / 255, truth / 255
    level = np.full(p.shape, -1.0)
    for step in range(1, 11):
        labels = measure.label((p >= step / 10) & (g >= step / 10), connectivity=1)
        sizes = np.bincount(labels.ravel())[1:]
        omega = labels == 1 + sizes.argmax() if sizes.size else np.zeros(p.shape, bool)
        level[(level == -1) & ~omega] = (step - 1) / 10
    level[level == -1] = 1
    phi = [1 - (each - level) * (each - level >= 0.15) for each in (p, g)]
    return float(np.abs(phi[0] - phi[1]).sum() / 1000)


def time_of(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return the shortest of three times in seconds of the processor, and the result: other programs do not count."""
    times = []
    for _ in range(3):
        start = time.process_time()
        result = function(*arguments)
        times.append(time.process_time() - start)
    return min(times), result


@click.command(help=__doc__)
@click.option("--width", default=3840, show_default=True)
@click.option("--height", default=2160, show_default=True)
def main(width: int, height: int) -> None:
    """Print a table in Markdown."""
    pair = make_mattes(width, height)
    cv2.setNumThreads(1)
    click.echo("| | plain port, s | ours, s | factor |\n|---|---|---|---|")
    for name, plain, ours in (("Grad", plain_grad, grad), ("Conn", plain_conn, conn)):
        (slow, expected), (fast, found) = time_of(plain, *pair), time_of(ours, *pair)
        assert abs(found - expected) <= 1e-9 * abs(expected), (name, found, expected)
        click.echo(f"| {name} | {slow:.2f} | {fast:.2f} | {slow / fast:.1f} |")
    click.echo(f"| all five errors | | {time_of(scores, *pair)[0]:.2f} | |")


if __name__ == "__main__":
    main()

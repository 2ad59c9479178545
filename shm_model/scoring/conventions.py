"""The scales in which published tables print errors."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Convention:
    """Factors of errors as `metrics` returns them (SAD, Grad and Conn in thousands), and names of columns, in order.

    `summary` says which tables print errors like this.
    """

    factors: dict[str, float]
    columns: dict[str, str]
    summary: str


_NAMES = {
    "sad": "SAD/1000",
    "mse": "MSE x 1e3",
    "mad": "MAD x 1e3",
    "grad": "Grad/1000",
    "conn": "Conn/1000",
    "dtssd": "dtSSD x 1e2",
}

CONVENTIONS = {
    "adobe": Convention(
        {"sad": 1, "mse": 1e3, "mad": 1e3, "grad": 1, "conn": 1, "dtssd": 1e2},
        _NAMES,
        "image matting: Composition-1k, alphamatting.com, P3M, AIM-500, AM-2k, PPM-100",
    ),
    "video": Convention(
        {"mad": 1e3, "mse": 1e3, "grad": 1, "conn": 1, "dtssd": 1e2},
        {key: _NAMES[key] for key in ("mad", "mse", "grad", "conn", "dtssd")},
        "video matting: VideoMatte, YouTubeMatte, as in RVM and MatAnyone",
    ),
    "mean": Convention(
        {"mad": 1e3, "mse": 1e3},
        {"mad": "SAD per pixel x 1e3", "mse": "MSE x 1e3"},
        'Chen et al., "Semantic Human Matting" (2018): means over all pixels',
    ),
    "raw": Convention(
        {"sad": 1e3, "mse": 1, "mad": 1, "grad": 1e3, "conn": 1e3, "dtssd": 1},
        {"sad": "SAD", "mse": "MSE", "mad": "MAD", "grad": "Grad", "conn": "Conn", "dtssd": "dtSSD"},
        "sums and means without any factor",
    ),
}

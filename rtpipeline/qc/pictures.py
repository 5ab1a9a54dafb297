"""Pixels of the course page: gray values of an image and the colour wash of a dose, sampled at the pixels of a view."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from rtpipeline.geometry.even_odd import Array
from rtpipeline.geometry.grid import Grid
from rtpipeline.qc.views import View

CT_WINDOW_HU = (-160.0, 240.0)
"""Level 40, width 400: soft tissue."""

WINDOW_PERCENTILES = (1.0, 99.5)
"""Of the voxels that are no background, for images without HU."""

WINDOW_SAMPLES = 200_000
"""Voxels that the window is taken from."""

GRAYS = 128
"""Gray levels of a picture: what an eye tells apart, in half of the bytes."""

WASH_LEVELS = 32
"""Colours of the dose."""

WASH_FROM = 0.05
"""Share of the scale below which a dose is not coloured."""

WASH_ALPHA = (0.30, 0.52)
"""Opacity of the wash at the lowest and at the highest dose."""

WASH_STOPS = (
    (0.00, (20, 30, 120)), (0.20, (0, 90, 230)), (0.40, (0, 180, 200)), (0.60, (40, 190, 60)),
    (0.78, (240, 220, 0)), (0.90, (250, 130, 0)), (1.00, (220, 0, 30)),
)  # fmt: skip
"""Share of the scale and colour (red, green, blue), as planning systems colour a dose: blue is low, red is high."""

KNOWN = 1.0 - 1e-6
"""Interpolated share of known voxels from which on a dose is known."""

ON_BORDER = 1e-6
"""Index beyond the outermost voxel centres that is rounding."""


@dataclass(frozen=True)
class Window:
    """Values that are black and white."""

    low: float
    high: float
    units: str

    @property
    def words(self) -> str:
        """As a caption says it."""
        if self.units == "HU":
            return f"level {(self.low + self.high) / 2:g}, width {self.high - self.low:g} HU"
        return f"{self.low:.3g} to {self.high:.3g} ({self.units})"


def window_of(values: NDArray[Any], units: str, *, calibrated: bool) -> Window:
    """Soft tissue for HU; else percentiles of what is above the lowest value."""
    if calibrated:
        return Window(*CT_WINDOW_HU, "HU")
    sample = values.reshape(-1)[:: max(1, values.size // WINDOW_SAMPLES)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    above = sample[sample > sample.min()] if len(sample) else sample
    if not len(above):
        return Window(0.0, 1.0, units)
    low, high = np.percentile(above, WINDOW_PERCENTILES)
    return Window(float(low), float(high) if high > low else float(low) + 1.0, units)


def sample_image(values: NDArray[Any], grid: Grid, view: View) -> tuple[Array, NDArray[np.bool_]]:
    """Linearly interpolated values at the view's pixels, and which of them lie in a voxel of the image."""
    index = np.moveaxis(grid.patient_to_index_zyx(view.centres_xyz_mm()), -1, 0)
    last = np.array(grid.shape_zyx)[:, None, None] - 1.0
    inside = ((index >= -0.5) & (index <= last + 0.5)).all(axis=0)
    sampled: Array = ndimage.map_coordinates(values, index, np.float64, order=1, mode="nearest")
    return sampled, np.asarray(inside)


def sample_dose(dose_gy: NDArray[Any], known: NDArray[Any] | None, grid: Grid, view: View) -> Array:
    """Trilinear dose (Gy) at the view's pixels; NaN outside the voxel centres, and where it is not known."""
    index = np.moveaxis(grid.patient_to_index_zyx(view.centres_xyz_mm()), -1, 0)
    last = np.array(grid.shape_zyx)[:, None, None] - 1.0
    inside = ((index >= -ON_BORDER) & (index <= last + ON_BORDER)).all(axis=0)
    sampled = ndimage.map_coordinates(dose_gy, index, np.float64, order=1, mode="nearest")
    if known is not None:
        inside &= ndimage.map_coordinates(known.astype(np.float32), index, np.float64, order=1) >= KNOWN
    return np.where(inside, sampled, np.nan)


def gray_png(values: Array, inside: NDArray[np.bool_], window: Window) -> bytes:
    """A gray picture, black outside the image."""
    share = np.clip((np.nan_to_num(values) - window.low) / (window.high - window.low), 0.0, 1.0)
    step = 255.0 / (GRAYS - 1)
    pixels = np.rint(np.rint(share * (GRAYS - 1)) * step)
    return _png(Image.fromarray(np.where(inside, pixels, 0).astype(np.uint8), "L"))


def wash_colour(share: float) -> tuple[int, int, int]:
    """Colour of a dose by its share of the scale."""
    at = [s for s, _ in WASH_STOPS]
    red, green, blue = (round(float(np.interp(share, at, [c[n] for _, c in WASH_STOPS]))) for n in range(3))
    return red, green, blue


def wash_level(share: Array) -> NDArray[np.uint8]:
    """Palette index of doses by their share of the scale: 0 is transparent, 1 to WASH_LEVELS are colours."""
    level = 1 + np.floor(np.clip(share, 0.0, 1.0 - 1e-9) * WASH_LEVELS)
    return np.where(np.nan_to_num(share) >= WASH_FROM, level, 0).astype(np.uint8)


def level_share(level: int) -> float:
    """Middle of the doses of a palette index, as a share of the scale."""
    return (level - 0.5) / WASH_LEVELS


def wash_png(dose_gy: Array, top_gy: float) -> bytes:
    """A colour picture with opacity by dose; NaN and low doses are transparent."""
    levels = np.arange(1, WASH_LEVELS + 1)
    colours = [(0, 0, 0), *(wash_colour(level_share(int(n))) for n in levels)]
    alphas = np.interp([level_share(int(n)) for n in levels], (WASH_FROM, 1.0), WASH_ALPHA)
    picture = Image.fromarray(wash_level(dose_gy / top_gy), "P")
    picture.putpalette([part for colour in colours for part in colour])
    return _png(picture, transparency=bytes([0, *(round(255 * float(a)) for a in alphas)]))


def _png(picture: Image.Image, **options: Any) -> bytes:
    stream = BytesIO()
    picture.save(stream, "PNG", optimize=True, **options)
    return stream.getvalue()


def data_uri(png: bytes) -> str:
    """The picture as it stands inside the page."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")

"""Planes of display: axial, coronal and sagittal pictures through a point, with the letters at their edges.

The axes of a picture are the image's own, each given to the patient axis that it is nearest to, so that contours of an
oblique image lie in its planes. Directions come from the direction cosines alone; the patient's left is on the right
of axial and coronal pictures (radiological convention), and anterior is on the left of sagittal ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np

from rtpipeline.geometry.even_odd import Array
from rtpipeline.geometry.grid import Grid

Name = Literal["axial", "coronal", "sagittal"]

LETTERS = ("RL", "AP", "IS")
"""Where the patient's x, y and z axis come from and run to."""

LETTER_SHARE = 0.26
"""A direction names a further patient axis when it has at least this share of it (15 degrees)."""

MAX_PIXELS = 400
"""Of the longest side of the pictures of one image; the other views have the same scale."""

MIN_PIXELS = 60
"""Of the shortest side: what is thinner gets room around it, or its letters would lie over each other."""


@dataclass(frozen=True, eq=False)
class View:
    """A plane of square pixels. origin_xyz_mm: upper left corner of the upper left pixel. right, down: unit vectors of
    increasing column and row. In picture coordinates that corner is (0, 0) and a pixel is 1 wide."""

    name: Name
    origin_xyz_mm: Array
    right: Array
    down: Array
    pixel_mm: float
    rows: int
    columns: int

    @property
    def normal(self) -> Array:
        """Unit vector perpendicular to the plane."""
        return np.cross(self.right, self.down)

    def centres_xyz_mm(self) -> Array:
        """(rows, columns, 3) patient position of every pixel's centre."""
        x = (np.arange(self.columns) + 0.5) * self.pixel_mm
        y = (np.arange(self.rows) + 0.5) * self.pixel_mm
        return self.origin_xyz_mm + y[:, None, None] * self.down + x[None, :, None] * self.right

    def to_picture(self, points_xyz_mm: Array) -> Array:
        """(n, 2) picture coordinates (x, y) of patient points (n, 3)."""
        offset = points_xyz_mm - self.origin_xyz_mm
        return np.stack([offset @ self.right, offset @ self.down], axis=-1) / self.pixel_mm

    @property
    def letters(self) -> dict[str, str]:
        """Direction of the patient that each edge looks to."""
        return {
            "left": direction_letters(-self.right),
            "right": direction_letters(self.right),
            "top": direction_letters(-self.down),
            "bottom": direction_letters(self.down),
        }


@dataclass(frozen=True, eq=False)
class Frame:
    """Three orthonormal display axes near the patient's left, posterior and superior, and the box to be shown.

    axes: (3, 3) rows. low_mm, high_mm: (3,) ends of the box along them.
    """

    axes: Array
    low_mm: Array
    high_mm: Array

    @property
    def pixel_mm(self) -> float:
        """Edge of the pixels of all views."""
        return float((self.high_mm - self.low_mm).max()) / MAX_PIXELS

    def around(self, points_xyz_mm: Array, margin_mm: float) -> Frame:
        """The box that also holds these points (n, 3) with a margin."""
        if not len(points_xyz_mm):
            return self
        along = points_xyz_mm @ self.axes.T
        low = np.minimum(self.low_mm, along.min(axis=0) - margin_mm)
        return Frame(self.axes, low, np.maximum(self.high_mm, along.max(axis=0) + margin_mm))


def direction_letters(direction: Array) -> str:
    """`L`, or `LA` for an oblique one: the patient axes that a direction runs along, the greatest share first."""
    order = np.argsort(-np.abs(direction), kind="stable")
    kept = [a for n, a in enumerate(order) if n == 0 or abs(direction[a]) >= LETTER_SHARE]
    return "".join(LETTERS[a][int(direction[a] > 0)] for a in kept)


def display_axes(grid: Grid) -> Array:
    """(3, 3) rows: the grid's axes nearest to the patient's left, posterior and superior, pointing there."""
    own = np.array([grid.row_direction, grid.column_direction, grid.normal])
    best = max(permutations(range(3)), key=lambda p: sum(abs(own[p[a], a]) for a in range(3)))
    axes = own[list(best)]
    return axes * np.where(np.diag(axes) < 0, -1.0, 1.0)[:, None]


def grid_box(grid: Grid, first_zyx: Array | None = None, last_zyx: Array | None = None) -> Frame:
    """The box of the grid's voxels, their outer faces included; of voxels first to last where these are given."""
    first = np.zeros(3) if first_zyx is None else first_zyx
    last = np.array(grid.shape_zyx) - 1.0 if last_zyx is None else last_zyx
    ends = np.array([first - 0.5, last + 0.5])
    corners = np.array([[ends[a, 0], ends[b, 1], ends[c, 2]] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    axes = display_axes(grid)
    along = grid.index_zyx_to_patient(corners) @ axes.T
    return Frame(axes, along.min(axis=0), along.max(axis=0))


def patient_box(points_xyz_mm: Array, margin_mm: float) -> Frame:
    """A box in patient axes around points (n, 3)."""
    return Frame(np.eye(3), points_xyz_mm.min(axis=0) - margin_mm, points_xyz_mm.max(axis=0) + margin_mm)


def nearest_voxel_xyz_mm(grid: Grid, point_xyz_mm: Array) -> Array:
    """Centre of the voxel of the grid that is nearest to a point."""
    index = np.clip(np.rint(grid.patient_to_index_zyx(point_xyz_mm)), 0, np.array(grid.shape_zyx) - 1)
    return grid.index_zyx_to_patient(index)


def views(frame: Frame, centre_xyz_mm: Array) -> list[View]:
    """The three views of a box through a point."""
    left, posterior, superior = 0, 1, 2
    return [
        _view("axial", frame, centre_xyz_mm, (left, 1), (posterior, 1)),
        _view("coronal", frame, centre_xyz_mm, (left, 1), (superior, -1)),
        _view("sagittal", frame, centre_xyz_mm, (posterior, 1), (superior, -1)),
    ]


def _view(name: Name, frame: Frame, centre: Array, right: tuple[int, int], down: tuple[int, int]) -> View:
    """A view whose pictures grow along axis and sign `right`, then `down`."""
    pixel_mm = frame.pixel_mm
    across = centre @ frame.axes.T
    sizes = []
    for axis, sign in (right, down):
        ends = sorted((sign * frame.low_mm[axis], sign * frame.high_mm[axis]))
        size = int(np.ceil((ends[1] - ends[0]) / pixel_mm - 1e-9))
        room = max(0, -((size - MIN_PIXELS) // 2))
        sizes.append(size + 2 * room)
        across[axis] = sign * (ends[0] - room * pixel_mm)
    return View(
        name=name,
        origin_xyz_mm=across @ frame.axes,
        right=right[1] * frame.axes[right[0]],
        down=down[1] * frame.axes[down[0]],
        pixel_mm=pixel_mm,
        rows=sizes[1],
        columns=sizes[0],
    )

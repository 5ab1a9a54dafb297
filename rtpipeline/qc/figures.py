"""Pictures as inline SVG: the image and the doses as embedded PNG, contours as paths, letters at the edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from rtpipeline.geometry.even_odd import Array
from rtpipeline.qc.pictures import (
    WASH_FROM,
    WASH_LEVELS,
    data_uri,
    gray_png,
    level_share,
    sample_dose,
    sample_image,
    wash_colour,
    wash_png,
)
from rtpipeline.qc.scenes import DoseLayer, Drawn, Scene
from rtpipeline.qc.sections import Ring, section
from rtpipeline.qc.views import View, views
from rtpipeline.report.svg import axis_step, thinned

THIN_PIXELS = 0.15
"""Contours are thinned to the vertices that keep them within this, in pixels."""

SCALE_BARS_MM = (100.0, 50.0, 20.0, 10.0, 5.0)
"""The longest that takes no more than BAR_SHARE of a picture's width."""

BAR_SHARE = 0.3

PATIENT_AXES = {"axial": ("z", 2), "coronal": ("y", 1), "sagittal": ("x", 0)}

LEGEND_WIDTH, LEGEND_HEIGHT, LEGEND_LEFT = 520, 46, 10


@dataclass(frozen=True)
class Figure:
    """One view: its SVG, its width as a share of the row, and its caption."""

    name: str
    svg: Markup
    columns: int
    caption: str


def figures(scene: Scene, dose_numbers: Mapping[str, int]) -> tuple[list[Figure], list[Drawn]]:
    """The three views of a scene, and the structures that stand in any of them.

    Parameters
    ----------
    dose_numbers: number of each dose on the page, by which it is shown and hidden.
    """
    made, seen = [], set()
    for view in views(scene.frame, scene.centre_xyz_mm):
        paths, present = _contours(scene.drawn, view)
        seen |= present
        parts = [*_rasters(scene, view, dose_numbers), *paths, *_edges(view)]
        svg = Markup(
            f'<svg class="view" viewBox="0 0 {view.columns} {view.rows}" role="img"'
            f' aria-label="{escape(view.name)} picture">{"".join(parts)}</svg>'
        )
        made.append(Figure(view.name, svg, view.columns, _caption(scene, view)))
    return made, [d for n, d in enumerate(scene.drawn) if n in seen]


def _rasters(scene: Scene, view: View, dose_numbers: Mapping[str, int]) -> list[str]:
    where = f'width="{view.columns}" height="{view.rows}" preserveAspectRatio="none"'
    parts = [f'<rect class="ground" width="{view.columns}" height="{view.rows}"/>']
    if scene.values is not None and scene.grid is not None and scene.window is not None:
        values, inside = sample_image(scene.values, scene.grid, view)
        parts.append(f'<image {where} href="{data_uri(gray_png(values, inside, scene.window))}"/>')
    for dose in scene.doses:
        number = dose_numbers[dose.dose_id]
        sampled = sample_dose(dose.dose_gy, dose.known, dose.grid, view)
        parts.append(f'<image class="dose dose-{number}" {where} href="{data_uri(wash_png(sampled, dose.top_gy))}"/>')
    return parts


def _contours(drawn: Sequence[Drawn], view: View) -> tuple[list[str], set[int]]:
    """Paths of the structures in this view, targets last so that they lie on top; numbers of those that have one."""
    parts, present = [], set()
    for number, one in sorted(enumerate(drawn), key=lambda d: (d[1].target, d[0])):
        path = path_of(section(one.solid, view))
        if not path:
            continue
        present.add(number)
        source = one.row["structure_source"]
        kinds = f"roi src-{escape(source)}" + (" target" if one.target else "")
        name = escape(one.row["structure_name"])
        label = name if source == "manual" else Markup(f"{name} ({escape(source)})")
        parts.append(f'<path class="{kinds}" stroke="{one.colour}" d="{path}"><title>{label}</title></path>')
    return parts, present


def path_of(rings: Sequence[Ring]) -> str:
    """SVG path of rings in picture coordinates, thinned, one decimal."""
    return "".join(_ring(points) for points in rings if len(points) > 2)


def _ring(points: Array) -> str:
    # the ends of a polyline stay: cut the ring where it is farthest from its first vertex
    far = int(np.argmax(((points - points[0]) ** 2).sum(axis=1)))
    ring = np.vstack([points, points[:1]])
    halves = [thinned(p[:, 0], p[:, 1], THIN_PIXELS, THIN_PIXELS) for p in (ring[: far + 1], ring[far:])]
    x, y = (np.concatenate([halves[0][n], halves[1][n][1:-1]]) for n in (0, 1))
    first, *others = (f"{_short(a)} {_short(b)}" for a, b in zip(x, y, strict=True))
    return f"M{first}L{' '.join(others)}Z"


def _short(value: float) -> str:
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def _edges(view: View) -> list[str]:
    """Letters of the patient's directions, and a scale bar."""
    middle_x, middle_y = view.columns / 2, view.rows / 2
    places = {
        "left": (4.0, middle_y + 5, "start"),
        "right": (view.columns - 4.0, middle_y + 5, "end"),
        "top": (middle_x, 16.0, "middle"),
        "bottom": (middle_x, view.rows - 5.0, "middle"),
    }
    parts = [
        f'<text class="letter" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{view.letters[edge]}</text>'
        for edge, (x, y, anchor) in places.items()
    ]
    fitting = [mm for mm in SCALE_BARS_MM if mm / view.pixel_mm <= BAR_SHARE * view.columns]
    if fitting:
        y = view.rows - 7
        parts.append(
            f'<path class="bar" d="M6 {y - 3}v3h{fitting[0] / view.pixel_mm:.1f}v-3"/>'
            f'<text class="bar" x="8" y="{y - 4}">{fitting[0] / 10:g} cm</text>'
        )
    return parts


def _caption(scene: Scene, view: View) -> str:
    """Where the plane lies: the patient coordinate, and the slice where the plane is one of the image's own."""
    letter, axis = PATIENT_AXES[view.name]
    text = f"{view.name}, {letter} = {scene.centre_xyz_mm[axis]:.1f} mm"
    grid = scene.grid
    if grid is not None and abs(abs(float(grid.normal @ view.normal)) - 1.0) < 1e-6:
        plane = round(float(grid.patient_to_index_zyx(scene.centre_xyz_mm)[0]))
        text += f", slice {plane + 1} of {grid.shape_zyx[0]}"
    return text


def dose_legend(dose: DoseLayer) -> Markup:
    """The colour scale of a dose in Gy and, where the prescription is known, in percent of it."""
    width = (LEGEND_WIDTH - 2 * LEGEND_LEFT) / WASH_LEVELS
    parts = []
    for level in range(1, WASH_LEVELS + 1):
        share = level_share(level)
        colour = "#{:02x}{:02x}{:02x}".format(*wash_colour(share)) if share >= WASH_FROM else "none"
        x = LEGEND_LEFT + (level - 1) * width
        parts.append(f'<rect x="{x:.2f}" y="14" width="{width + 0.2:.2f}" height="12" fill="{colour}"/>')
    parts += _ticks(dose.top_gy, dose.top_gy, 38, "Gy")
    if dose.rx_gy is not None:
        parts += _ticks(dose.top_gy, 100 * dose.top_gy / dose.rx_gy, 10, "%")
    label = f"colour scale of dose {dose.dose_id}"
    return Markup(
        f'<svg class="scale" viewBox="0 0 {LEGEND_WIDTH + 40} {LEGEND_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _ticks(top_gy: float, top: float, y: int, unit: str) -> list[str]:
    step = axis_step(top)
    parts = []
    for number in range(int(top / step + 1e-9) + 1):
        x = LEGEND_LEFT + (LEGEND_WIDTH - 2 * LEGEND_LEFT) * number * step / top
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{number * step:g}</text>')
    parts.append(f'<text x="{LEGEND_WIDTH + 12}" y="{y}">{unit}</text>')
    return parts

"""Dose-volume plots as inline SVG: cumulative curves, volume in percent against dose, legend, prescription lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

Array = NDArray[np.float64]

ORGAN_COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6A51A3", "#8C6D31", "#444444")
"""Told apart with every kind of colour vision (Okabe and Ito 2008, https://jfly.uni-koeln.de/color, and neighbours)."""

DASHES = ("", "7 3", "2 3", "9 3 2 3")
"""After all colours were used the line style changes, so that no two curves look the same."""

TARGET_COLOUR = "#D55E00"
FURTHER_COLOUR = "#C4C8CC"
MAX_LEGEND = 22
MAX_LABEL = 26

WIDTH, HEIGHT = 900, 430
LEFT, RIGHT, TOP, BOTTOM = 52, 250, 34, 44

MARK_LABEL_PX = 70
"""Room that a label above the plot takes."""

TOLERANCE_PCT = 0.05
"""Thinned curves stay within this share of the volume and of the dose axis, a fifth of a pixel."""


@dataclass(frozen=True)
class Line:
    """One curve: dose_gy ascending, volume_pct of the whole structure at or above it."""

    name: str
    dose_gy: Array
    volume_pct: Array
    is_target: bool = False
    colour: str | None = None
    """of its own; None: the next of the plot"""


@dataclass(frozen=True)
class Mark:
    """A vertical line, such as a prescription."""

    dose_gy: float
    label: str


@dataclass(frozen=True)
class Band:
    """Median and spread of many curves on common dose levels."""

    dose_gy: Array
    low_pct: Array
    median_pct: Array
    high_pct: Array
    label: str


def thinned(x: Array, y: Array, x_tolerance: float, y_tolerance: float) -> tuple[Array, Array]:
    """The fewest points that keep a polyline within the tolerances (Douglas and Peucker 1973), ends kept."""
    u, v = x / x_tolerance, y / y_tolerance
    keep = np.zeros(len(x), bool)
    if len(x) == 0:
        return x, y
    keep[[0, -1]] = True
    spans = [(0, len(x) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        du, dv = u[last] - u[first], v[last] - v[first]
        inner = slice(first + 1, last)
        distance = np.abs(du * (v[inner] - v[first]) - dv * (u[inner] - u[first])) / (math.hypot(du, dv) or 1.0)
        worst = int(np.argmax(distance))
        if distance[worst] > 1.0:
            middle = first + 1 + worst
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return x[keep], y[keep]


def axis_step(top: float, wanted: int = 8) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides an axis into about `wanted` parts."""
    raw = max(top, 1e-6) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)


class _Axes:
    """From dose and volume to pixels."""

    def __init__(self, top_x: float, unit: str) -> None:
        self.step = axis_step(top_x)
        self.top_x = math.ceil(top_x / self.step - 1e-9) * self.step
        self.unit = unit

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.top_x

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / 100)

    def frame(self) -> Markup:
        parts = []
        for volume in range(0, 101, 20):
            y = self.y(volume)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{volume}</text>')
        for number in range(round(self.top_x / self.step) + 1):
            dose = number * self.step
            x = self.x(dose)
            parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{dose:g}</text>'
            )
        middle = (LEFT + WIDTH - RIGHT) / 2
        height = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="label" x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">Dose [{self.unit}]</text>'
        )
        turned = f'transform="translate(14 {height:.0f}) rotate(-90)"'
        parts.append(f'<text class="label" {turned} text-anchor="middle">Volume [%]</text>')
        return Markup("".join(parts))

    def path(self, dose: Array, volume: Array) -> str:
        x, y = thinned(dose, volume, self.top_x * TOLERANCE_PCT / 100, TOLERANCE_PCT)
        points = " ".join(f"{self.x(a):.1f} {self.y(b):.1f}" for a, b in zip(x, y, strict=True))
        return f"M{points}"


def dvh_plot(
    lines: Sequence[Line],
    marks: Sequence[Mark] = (),
    *,
    title: str,
    unit: str = "Gy",
    band: Band | None = None,
    reference: Sequence[Line] = (),
) -> Markup:
    """A plot of cumulative curves; targets are drawn thick and on top, at most MAX_LEGEND curves are named.

    Parameters
    ----------
    reference: curves of the planning system, dotted above ours, which they should hide.
    """
    tops = [float(line.dose_gy[-1]) for line in (*lines, *reference) if len(line.dose_gy)] + [m.dose_gy for m in marks]
    tops += [float(band.dose_gy[-1])] if band is not None else []
    axes = _Axes(max([*tops, 1.0]) * 1.02, unit)
    named, further = _named(lines)
    drawn: list[str | Markup] = [axes.frame()]
    legend: list[str] = []
    if band is not None:
        drawn.append(_band(axes, band))
        legend.append(_legend(0, escape(band.label), TARGET_COLOUR, "", 3.0, bold=True))
    drawn += [
        f'<path d="{axes.path(o.dose_gy, o.volume_pct)}" stroke="{FURTHER_COLOUR}" stroke-width="1"/>' for o in further
    ]
    curves = []
    for line, (colour, dash, width) in zip(named, _styles(named), strict=True):
        style = f' stroke-dasharray="{dash}"' if dash else ""
        curves.append(
            f'<path d="{axes.path(line.dose_gy, line.volume_pct)}" stroke="{colour}" stroke-width="{width}"{style}>'
            f"<title>{escape(line.name)}</title></path>"
        )
        legend.append(_legend(len(legend), escape(_shortened(line.name)), colour, dash, width, bold=line.is_target))
    drawn += reversed(curves)  # targets come first in the legend and last in the drawing
    drawn += [f'<path class="tps" d="{axes.path(r.dose_gy, r.volume_pct)}"/>' for r in reference]
    if reference:
        legend.append(_legend(len(legend), escape("planning system's own"), "#000000", "1 3", 1.4))
    if further:
        legend.append(_legend(len(legend), escape(f"{len(further)} further"), FURTHER_COLOUR, "", 1.0))
    drawn += _marks(axes, marks)
    return Markup(
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg class="dvh" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(drawn)}{''.join(legend)}</svg></figure>"
    )


def _named(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Curves with a place in the legend, targets first, then by dose; and those without."""

    def dose_at_half(line: Line) -> float:
        return float(np.interp(-50.0, -line.volume_pct, line.dose_gy)) if len(line.dose_gy) else 0.0

    ordered = sorted(lines, key=lambda c: (not c.is_target, -dose_at_half(c), c.name))
    return ordered[:MAX_LEGEND], ordered[MAX_LEGEND:]


def _styles(lines: Sequence[Line]) -> list[tuple[str, str, float]]:
    styles = []
    targets = organs = 0
    for line in lines:
        if line.is_target:
            styles.append((line.colour or TARGET_COLOUR, DASHES[targets % len(DASHES)], 2.8))
            targets += 1
        else:
            dash = DASHES[organs // len(ORGAN_COLOURS) % len(DASHES)]
            styles.append((line.colour or ORGAN_COLOURS[organs % len(ORGAN_COLOURS)], dash, 1.5))
            organs += 1
    return styles


def _legend(row: int, text: Markup, colour: str, dash: str, width: float, *, bold: bool = False) -> str:
    y = TOP + 10 + 16 * row
    x = WIDTH - RIGHT + 18
    style = f' stroke-dasharray="{dash}"' if dash else ""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<path d="M{x} {y}h30" stroke="{colour}" stroke-width="{width}"{style}/>'
        f'<text class="legend" x="{x + 37}" y="{y + 4}"{weight}>{text}</text>'
    )


def _shortened(name: str) -> str:
    return name if len(name) <= MAX_LABEL else name[: MAX_LABEL - 1] + "…"


def _marks(axes: _Axes, marks: Sequence[Mark]) -> list[str]:
    """Vertical lines with their labels above the plot, in two rows where they are close together."""
    drawn: list[str] = []
    previous, row = -math.inf, 0
    for mark in sorted(marks, key=lambda m: m.dose_gy):
        x = axes.x(mark.dose_gy)
        row = 1 - row if x - previous < MARK_LABEL_PX else 0
        previous = x
        drawn.append(
            f'<path class="rx" d="M{x:.1f} {TOP - 3 - 12 * row}V{HEIGHT - BOTTOM}"/>'
            f'<text class="rx" x="{x:.1f}" y="{TOP - 6 - 12 * row}" text-anchor="middle">{escape(mark.label)}</text>'
        )
    return drawn


def _band(axes: _Axes, band: Band) -> str:
    upper = axes.path(band.dose_gy, band.high_pct)
    lower = axes.path(band.dose_gy[::-1], band.low_pct[::-1]).replace("M", "L", 1)
    return (
        f'<path d="{upper}{lower}Z" fill="{TARGET_COLOUR}" fill-opacity="0.18" stroke="none"/>'
        f'<path d="{axes.path(band.dose_gy, band.median_pct)}" stroke="{TARGET_COLOUR}" stroke-width="3"/>'
    )

"""Cumulative dose-volume histograms as a picture of pixels, for those who want a file and no page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from rtpipeline.report.svg import DASHES, ORGAN_COLOURS, Array, axis_step

WIDTH, HEIGHT = 1200, 640
LEFT, RIGHT, TOP, BOTTOM = 84, 300, 30, 70
"""Pixels around the plot; the legend stands on the right."""

FINER = 3
"""Everything is drawn so many times larger and then reduced, which smooths the lines."""

FONT_PX, SMALL_FONT_PX = 18, 16
LINE_PX, ROW_PX, SAMPLE_PX = 2.4, 22, 34
GRID, INK, PAPER = "#E3E6E8", "#202428", "#FFFFFF"

MAX_LIGHTNESS = 0.75
"""Relative luminance above which a colour of the file is darkened: yellow on white cannot be seen."""

Xy = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """dose_gy: (n,) ascending; volume_pct: (n,) of the structure at or above it. colour: red, green, blue of 255, as
    the structure set says; None for one of ours."""

    name: str
    dose_gy: Array
    volume_pct: Array
    colour: Sequence[int] | None = None


def dvh_picture(curves: Sequence[Curve]) -> Image.Image:
    """The curves over a dose axis from 0 Gy and a volume axis to 100 %, each named in the legend while there is room;
    the others are counted there."""
    top_gy = max([1.0, *(float(c.dose_gy[-1]) for c in curves)]) * 1.02
    sheet = _Sheet(top_gy)
    sheet.frame()
    styles = _styles(curves)
    for curve, (colour, dash) in zip(reversed(curves), reversed(styles), strict=True):
        sheet.curve(curve, colour, dash)
    room = (HEIGHT - TOP - BOTTOM) // ROW_PX
    named = curves if len(curves) <= room else curves[: room - 1]
    for row, (curve, (colour, dash)) in enumerate(zip(named, styles, strict=False)):
        sheet.legend(row, curve.name, colour, dash)
    if len(named) < len(curves):
        sheet.legend(len(named), f"{len(curves) - len(named)} further", None, ())
    return sheet.picture()


def _styles(curves: Sequence[Curve]) -> list[tuple[str, tuple[float, ...]]]:
    """Colour and dashes of each curve, so that no two look the same while that is possible: curves of one colour have
    different dashes, and a colour that more curves have than there are dashes is not used."""
    said = [None if c.colour is None else _visible(c.colour) for c in curves]
    wanted = [None if said.count(colour) > len(DASHES) else colour for colour in said]
    styles: list[tuple[str, tuple[float, ...]]] = []
    ours = 0
    for colour in wanted:
        if colour is None:
            colour, turn = ORGAN_COLOURS[ours % len(ORGAN_COLOURS)], ours // len(ORGAN_COLOURS)
            ours += 1
        else:
            turn = sum(c == colour for c, _ in styles)
        styles.append((colour, tuple(float(d) for d in DASHES[turn % len(DASHES)].split())))
    return styles


def _visible(rgb: Sequence[int]) -> str:
    """Hexadecimal colour, darkened where it would not be seen on white (luminance as in ITU-R BT.709)."""
    red, green, blue = (min(max(int(c), 0), 255) for c in rgb)
    luminance = (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255.0
    factor = min(1.0, MAX_LIGHTNESS / luminance) if luminance > 0 else 1.0
    return "#" + "".join(f"{round(factor * c):02x}" for c in (red, green, blue))


class _Sheet:
    """The drawing, FINER times as large as the picture."""

    def __init__(self, top_gy: float) -> None:
        self.image = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(FONT_PX * FINER)
        self.small = ImageFont.load_default(SMALL_FONT_PX * FINER)
        self.step_gy = axis_step(top_gy)
        self.top_gy = math.ceil(top_gy / self.step_gy - 1e-9) * self.step_gy

    def at(self, dose_gy: float, volume_pct: float) -> Xy:
        """Pixels of a point of the plot."""
        x = LEFT + (WIDTH - LEFT - RIGHT) * dose_gy / self.top_gy
        y = TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - volume_pct / 100.0)
        return x * FINER, y * FINER

    def line(self, points: Sequence[Xy], colour: str, width: float) -> None:
        self.draw.line(list(points), fill=colour, width=max(1, round(width * FINER)), joint="curve")

    def frame(self) -> None:
        for volume in range(0, 101, 20):
            self.line([self.at(0.0, volume), self.at(self.top_gy, volume)], GRID, 1.0)
            x, y = self.at(0.0, volume)
            self.draw.text((x - 9 * FINER, y), f"{volume}", fill=INK, font=self.small, anchor="rm")
        for number in range(round(self.top_gy / self.step_gy) + 1):
            dose = number * self.step_gy
            self.line([self.at(dose, 0.0), self.at(dose, 100.0)], GRID, 1.0)
            x, y = self.at(dose, 0.0)
            self.draw.text((x, y + 9 * FINER), f"{dose:g}", fill=INK, font=self.small, anchor="ma")
        self.line([self.at(0.0, 100.0), self.at(0.0, 0.0), self.at(self.top_gy, 0.0)], INK, 1.4)
        middle = self.at(0.5 * self.top_gy, 0.0)[0]
        self.draw.text((middle, (HEIGHT - 12) * FINER), "Dose [Gy]", fill=INK, font=self.font, anchor="ms")
        self._upright("Volume [%]")

    def _upright(self, text: str) -> None:
        left, top, right, bottom = self.font.getbbox(text)
        label = Image.new("RGB", (round(right - left), round(bottom - top)), PAPER)
        ImageDraw.Draw(label).text((-left, -top), text, fill=INK, font=self.font)
        label = label.transpose(Image.Transpose.ROTATE_90)
        middle = round(self.at(0.0, 50.0)[1])
        self.image.paste(label, (12 * FINER, middle - label.height // 2))

    def curve(self, curve: Curve, colour: str, dash: Sequence[float]) -> None:
        """From the whole volume at 0 Gy to none at the maximum."""
        points = [self.at(0.0, float(curve.volume_pct[0]))]
        points += [self.at(float(d), float(v)) for d, v in zip(curve.dose_gy, curve.volume_pct, strict=True)]
        points.append(self.at(float(curve.dose_gy[-1]), 0.0))
        for part in _dashed(points, [d * FINER * LINE_PX / 2.0 for d in dash]):
            self.line(part, colour, LINE_PX)

    def legend(self, row: int, name: str, colour: str | None, dash: Sequence[float]) -> None:
        x, y = (WIDTH - RIGHT + 24) * FINER, (TOP + 10 + ROW_PX * row) * FINER
        if colour is not None:
            end = (x + SAMPLE_PX * FINER, y)
            for part in _dashed([(x, y), end], [d * FINER * LINE_PX / 2.0 for d in dash]):
                self.line(part, colour, LINE_PX)
        room = (RIGHT - 24 - SAMPLE_PX - 10 - 8) * FINER
        text = name
        while len(text) > 1 and self.small.getlength(text) > room:
            text = text[:-2] + "…"
        self.draw.text((x + (SAMPLE_PX + 10) * FINER, y), text, fill=INK, font=self.small, anchor="lm")

    def picture(self) -> Image.Image:
        return self.image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _dashed(points: Sequence[Xy], dash: Sequence[float]) -> list[list[Xy]]:
    """Parts of a polyline that are drawn: lengths of `dash` in turn, drawn and left out; all of it without dashes."""
    if not dash:
        return [list(points)]
    parts: list[list[Xy]] = [[points[0]]]
    number, left = 0, dash[0]
    for begin, end in pairwise(points):
        length = math.dist(begin, end)
        done = 0.0
        while length - done > left:
            done += left
            share = done / length
            cut = (begin[0] + share * (end[0] - begin[0]), begin[1] + share * (end[1] - begin[1]))
            if number % 2 == 0:
                parts[-1].append(cut)
            else:
                parts.append([cut])
            number += 1
            left = dash[number % len(dash)]
        left -= length - done
        if number % 2 == 0:
            parts[-1].append(end)
    return [part for part in parts if len(part) > 1]

"""The picture of histograms: pixels where the curves should be, in the colours that were asked for."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageColor

from rtpipeline.report import dvh_picture
from rtpipeline.report.dvh_picture import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Curve

NEAR_PX = 2
"""A line is 2.4 pixels wide."""


def ramp(name: str = "PTV", colour: tuple[int, int, int] | None = (200, 0, 0), top_gy: float = 60.0) -> Curve:
    dose = np.linspace(20.0, top_gy, 200)
    return Curve(name, dose, np.linspace(100.0, 0.0, 200), colour)


def has_colour(picture: Image.Image, colour: str | tuple[int, int, int], x: float, y: float) -> bool:
    """Whether a pixel near (x, y) has about this colour."""
    wanted = np.array(ImageColor.getrgb(colour) if isinstance(colour, str) else colour, float)
    pixels = np.asarray(picture, float)
    x0, y0 = round(x), round(y)
    near = pixels[y0 - NEAR_PX : y0 + NEAR_PX + 1, x0 - NEAR_PX : x0 + NEAR_PX + 1]
    return bool((np.abs(near - wanted).max(axis=-1) < 40).any())


def place(dose_gy: float, volume_pct: float, axis_end_gy: float) -> tuple[float, float]:
    return (
        LEFT + (WIDTH - LEFT - RIGHT) * dose_gy / axis_end_gy,
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - volume_pct / 100.0),
    )


def test_a_curve_goes_where_its_doses_and_volumes_say_from_the_whole_volume_at_0_gy():
    picture = dvh_picture.dvh_picture([ramp()])
    assert picture.size == (WIDTH, HEIGHT)
    # 61.2 Gy in steps of 10 end at 70
    for dose, volume in ((5.0, 100.0), (30.0, 75.0), (40.0, 50.0), (55.0, 12.5)):
        assert has_colour(picture, (200, 0, 0), *place(dose, volume, 70.0)), (dose, volume)
    for dose, volume in ((30.0, 50.0), (55.0, 50.0), (5.0, 50.0)):
        assert not has_colour(picture, (200, 0, 0), *place(dose, volume, 70.0)), (dose, volume)


def test_colours_of_the_file_are_kept_and_pale_ones_darkened():
    assert dvh_picture._visible((200, 0, 0)) == "#c80000"
    red, green, blue = ImageColor.getrgb(dvh_picture._visible((255, 255, 0)))
    assert red == green < 255 and blue == 0
    assert dvh_picture._visible((0, 0, 0)) == "#000000"


@pytest.mark.parametrize("colour", [None, (200, 0, 0)])
def test_no_two_of_many_curves_look_the_same(colour):
    styles = dvh_picture._styles([ramp(f"S{n}", colour) for n in range(30)])
    assert len(set(styles)) == 30


def test_two_curves_of_one_colour_differ_by_their_dashes():
    (a, solid), (b, dashed) = dvh_picture._styles([ramp("A"), ramp("B")])
    assert a == b and solid != dashed


def test_dashes_cover_their_share_of_a_line_whatever_its_vertices():
    points = [(float(x), 0.0) for x in range(0, 1001, 7)]
    drawn = sum(part[-1][0] - part[0][0] for part in dvh_picture._dashed(points, [6.0, 4.0]))
    assert drawn == pytest.approx(0.6 * points[-1][0], abs=6.0)


def test_without_a_curve_there_are_axes_and_many_names_are_counted():
    assert dvh_picture.dvh_picture([]).size == (WIDTH, HEIGHT)
    assert dvh_picture.dvh_picture([ramp(f"a name that is far too long for the legend {n}") for n in range(60)])

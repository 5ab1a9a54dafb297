"""Plots: thinned curves stay true, every curve can be told apart, every text is escaped."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from rtpipeline.report.svg import MAX_LEGEND, Band, Line, Mark, axis_step, dvh_plot, thinned

DOSE = np.linspace(0, 60, 601)


def gaussian(name: str, mean: float, sigma: float = 3.0, is_target: bool = False) -> Line:
    return Line(name, DOSE, 100 * norm.sf(DOSE, mean, sigma), is_target)


@given(
    steps=st.lists(st.floats(0, 10), min_size=1, max_size=200),
    x_tolerance=st.floats(0.01, 1),
    y_tolerance=st.floats(0.01, 1),
)
def test_a_thinned_curve_stays_within_the_tolerances(steps, x_tolerance, y_tolerance):
    """Any monotone curve: each point that was dropped lies within one unit, in tolerances, of the kept polyline."""
    y = 100 - np.cumsum([0, *steps])
    x = np.arange(len(y), dtype=float)
    kept_x, kept_y = thinned(x, y, x_tolerance, y_tolerance)
    assert (kept_x[0], kept_x[-1]) == (x[0], x[-1])
    for px, py in zip(x / x_tolerance, y / y_tolerance, strict=True):
        assert distance_to_polyline(px, py, kept_x / x_tolerance, kept_y / y_tolerance) <= 1 + 1e-6


def distance_to_polyline(px: float, py: float, x: np.ndarray, y: np.ndarray) -> float:
    """Smallest distance to any segment, by projection onto each one."""
    if len(x) == 1:
        return float(np.hypot(px - x[0], py - y[0]))
    dx, dy = np.diff(x), np.diff(y)
    length = dx**2 + dy**2
    t = np.clip(((px - x[:-1]) * dx + (py - y[:-1]) * dy) / np.where(length > 0, length, 1), 0, 1)
    return float(np.min(np.hypot(px - x[:-1] - t * dx, py - y[:-1] - t * dy)))


def test_a_smooth_curve_needs_a_tenth_of_its_points():
    line = gaussian("a", 40)
    x, _ = thinned(line.dose_gy, line.volume_pct, 0.03, 0.05)
    assert 5 < len(x) < len(DOSE) / 10


@pytest.mark.parametrize(("top", "expected"), [(80, 10), (66, 10), (50, 10), (20, 5), (2, 0.5), (140, 20), (0.1, 0.02)])
def test_axis_steps_are_round(top, expected):
    assert axis_step(top) == pytest.approx(expected)


def parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def test_the_plot_is_well_formed_and_texts_are_escaped():
    root = parsed(dvh_plot([gaussian("<b>&\"x'", 30)], [Mark(50, "Rx <50>")], title="a & b"))
    texts = ["".join(e.itertext()) for e in root.iter("text")]
    assert "<b>&\"x'" in texts
    assert "Rx <50>" in texts
    assert not list(root.iter("b"))


def test_no_two_named_curves_look_the_same():
    lines = [gaussian(f"organ {n}", 20 + n) for n in range(18)] + [
        gaussian(f"PTV {n}", 50 + n, 1, True) for n in range(4)
    ]
    root = parsed(dvh_plot(lines, title="t"))
    drawn = [p for p in root.iter("path") if p.find("title") is not None]
    styles = {(p.get("stroke"), p.get("stroke-dasharray")) for p in drawn}
    assert len(drawn) == len(styles) == len(lines)


def test_targets_are_thick_named_first_and_drawn_last():
    root = parsed(dvh_plot([gaussian("Heart", 55), gaussian("PTV", 50, 1, True)], title="t"))
    drawn = [p for p in root.iter("path") if p.find("title") is not None]
    assert [p.find("title").text for p in drawn] == ["Heart", "PTV"]
    assert float(drawn[1].get("stroke-width")) > float(drawn[0].get("stroke-width"))
    assert [t.text for t in root.iter("text") if t.get("class") == "legend"] == ["PTV", "Heart"]


def test_more_curves_than_the_legend_holds_are_counted_not_dropped():
    root = parsed(dvh_plot([gaussian(f"s{n}", 10 + n) for n in range(MAX_LEGEND + 7)], title="t"))
    legend = [t.text for t in root.iter("text") if t.get("class") == "legend"]
    assert len(legend) == MAX_LEGEND + 1
    assert legend[-1] == "7 further"


def test_a_point_of_the_curve_is_drawn_where_the_axes_say():
    """A step at 30 Gy: its pixel lies where the ticks at 20 and 40 Gy put it."""
    step = Line("step", np.array([0.0, 30.0, 30.0]), np.array([100.0, 100.0, 0.0]))
    root = parsed(dvh_plot([step, gaussian("x", 50)], title="t"))
    ticks = {
        t.text: float(t.get("x"))
        for t in root.iter("text")
        if t.get("class") == "tick" and t.get("text-anchor") == "middle"
    }
    path = next(p for p in root.iter("path") if p.find("title") is not None and p.find("title").text == "step").get("d")
    corner = float(re.findall(r"[\d.]+", path)[-2])
    assert corner == pytest.approx((ticks["20"] + ticks["40"]) / 2, abs=0.1)


def test_a_band_is_closed_around_its_median():
    band = Band(DOSE, *(100 * norm.sf(DOSE, m, 2) for m in (40, 45, 50)), label="median")
    root = parsed(dvh_plot([], title="t", band=band))
    fill = next(p for p in root.iter("path") if p.get("fill"))
    assert fill.get("d").endswith("Z")
    assert fill.get("d").count("M") == 1


def test_labels_of_close_prescriptions_stand_in_two_rows():
    root = parsed(dvh_plot([gaussian("x", 50)], [Mark(54, "Rx 54 Gy"), Mark(55, "Rx 55 Gy")], title="t"))
    rows = {t.text: t.get("y") for t in root.iter("text") if t.get("class") == "rx"}
    assert rows["Rx 54 Gy"] != rows["Rx 55 Gy"]

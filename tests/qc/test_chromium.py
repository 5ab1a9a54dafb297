"""The page in a real browser: no complaint, its numbers, and pixels of contour and dose where the closed form says."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtpipeline.qc.pictures import WASH_ALPHA, WASH_FROM, WASH_LEVELS, level_share, wash_colour
from rtpipeline.qc.scenes import SCALE_OVER_RX
from tests.qc.conftest import BALL_MM, STAGES, page_of, two_balls, views_of, without_networks
from tests.synthetic.pipeline import run_chain

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--force-device-scale-factor=1", "--enable-logging=stderr", "--force-color-profile=srgb",
)  # fmt: skip

ZOOM = 2
"""Screen pixels of a picture's pixel in the test of pixels."""

COLOUR_LEVELS = 10
"""Of 255: blending and smoothing in the browser, and one step of the dose scale."""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium on this machine")
    return found


@pytest.fixture(scope="module")
def patient_page(tmp_path_factory):
    work = tmp_path_factory.mktemp("page")
    patient = two_balls()
    chain = run_chain(patient.save(work / "in"), work / "out", without_networks(), stages=STAGES)
    return patient, chain, page_of(chain)


def browse(chromium: str, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [chromium, *OPTIONS, profile, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)


def test_the_browser_has_nothing_to_complain_about_and_shows_the_numbers(chromium, patient_page, tmp_path):
    _, chain, html = patient_page
    page = tmp_path / "course.html"
    page.write_text(html, encoding="utf-8")
    done = browse(chromium, page, "--dump-dom")
    assert "CONSOLE" not in done.stderr, done.stderr
    text = re.sub(r"<[^>]+>", " ", done.stdout)
    for metric in chain.rows("dvh", "dvh_metrics"):
        assert f" {metric['dmean_gy']:.2f} " in text
    assert "For research, not for treatment decisions" in text
    assert done.stdout.count("<svg") == html.count("<svg")  # the browser had nothing to mend


def test_pixels_of_contour_and_dose_are_where_the_closed_form_says(chromium, patient_page, tmp_path):
    patient, _, html = patient_page
    view = views_of(html)[0]
    columns, rows = view.columns_rows
    style = (files("rtpipeline.qc") / "course.css").read_text()
    page = tmp_path / "view.html"
    body = f'<body style="margin:0;width:{ZOOM * columns}px">{view.svg}</body>'
    page.write_text(f"<!doctype html><meta charset=utf-8><style>{style}</style>{body}", encoding="utf-8")
    shot = tmp_path / "view.png"
    browse(chromium, page, f"--screenshot={shot}", f"--window-size={ZOOM * columns},{ZOOM * rows}")
    screen = np.asarray(Image.open(shot).convert("RGB")).astype(float)

    # the contour: its own colour at its vertices
    stroke = re.search(r'stroke="#(\w{6})"[^>]*><title>PTV<', view.svg)
    assert stroke is not None
    colour = np.array([int(stroke.group(1)[n : n + 2], 16) for n in (0, 2, 4)])
    points = np.concatenate(view.contour("PTV"))
    at = np.rint(points * ZOOM - 0.5).astype(int)
    near = [np.abs(screen[y - 1 : y + 2, x - 1 : x + 2] - colour).max(axis=2).min() for x, y in at]
    assert np.mean(np.array(near) < 40) > 0.9

    # the dose: the picture's gray under the colour of the closed form's dose
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    gray = np.asarray(view.pictures()[0]).astype(float)
    differences = []
    for right_mm in (-8.0, 0.0, 8.0):
        column, row = (int(v) for v in centre + np.array([right_mm, 0.0]) / view.pixel_mm)
        point = np.array(BALL_MM) + np.array([right_mm, 0.0, 0.0])
        share = min(float(patient.dose.at(point[None])[0]) / (SCALE_OVER_RX * 50.0), 1 - 1e-9)
        middle = level_share(1 + int(share * WASH_LEVELS))
        alpha = float(np.interp(middle, (WASH_FROM, 1.0), WASH_ALPHA))
        under = gray[row - 2 : row + 3, column - 2 : column + 3].mean()
        expected = (1 - alpha) * under + alpha * np.array(wash_colour(middle))
        y, x = int(ZOOM * (row + 0.5)), int(ZOOM * (column + 0.5))
        seen = screen[y - 4 : y + 5, x - 4 : x + 5].mean(axis=(0, 1))
        differences.append(np.abs(seen - expected).max())
    assert max(differences) < COLOUR_LEVELS, differences

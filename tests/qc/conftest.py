"""A small patient with two balls, in four positions, through every stage that needs no network; and its page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtpipeline.config import Config, parse_config
from rtpipeline.demo.small import CENTRE_MM, SmallPatient, small_patient
from rtpipeline.demo.solids import Cylinder, sphere
from rtpipeline.execution.context import StageContext
from rtpipeline.qc.outputs import CourseOutputs
from tests.synthetic.pipeline import COHORT, SPINE, Chain, run_chain

STAGES = [*SPINE[:2], "segmentation", "custom_models", *SPINE[2:], "radiomics", "robustness", "qc"]
"""Every stage of a course, in the order of the stage table."""

POSITIONS = ("HFS", "FFS", "HFP", "HFDL")

BALL_MM = (CENTRE_MM[0] + 16.0, CENTRE_MM[1] - 11.0, CENTRE_MM[2] + 6.0)
"""Centre of the target: to the left, anterior and superior of everything else, so that a mirrored picture shows."""

BALL_RADIUS_MM = 15.0
OTHER_MM = (CENTRE_MM[0] - 18.0, CENTRE_MM[1] + 13.0, CENTRE_MM[2])
OTHER_RADIUS_MM = 11.0
"""Cut by the pictures through the target in part only."""


def without_networks(**changes: object) -> Config:
    """The defaults, with the stages switched off that take long."""
    off = {"segmentation", "custom_models", "radiomics", "radiomics_robustness"}
    return parse_config({name: {"enabled": False} for name in off} | changes)


def two_balls(**changes: object) -> SmallPatient:
    solids = {
        "BODY": ("EXTERNAL", Cylinder(CENTRE_MM, (50.0, 46.0), 29.0)),
        "PTV": ("PTV", sphere(BALL_MM, BALL_RADIUS_MM)),
        "Ball": ("ORGAN", sphere(OTHER_MM, OTHER_RADIUS_MM)),
    }
    return small_patient(solids=solids, gradient_gy_per_mm=(0.10, -0.06, 0.08), **changes)  # type: ignore[arg-type]


@dataclass
class ViewOnPage:
    """One picture as it stands in the page's text."""

    svg: str

    @cached_property
    def columns_rows(self) -> tuple[int, int]:
        width, height = re.search(r'viewBox="0 0 (\d+) (\d+)"', self.svg).groups()  # type: ignore[union-attr]
        return int(width), int(height)

    @cached_property
    def pixel_mm(self) -> float:
        """By the scale bar that the reader sees."""
        length = float(re.search(r"v3h([\d.]+)v-3", self.svg).group(1))  # type: ignore[union-attr]
        centimetres = float(re.search(r">([\d.]+) cm<", self.svg).group(1))  # type: ignore[union-attr]
        return 10 * centimetres / length

    def letters(self) -> list[str]:
        """Left, right, top, bottom."""
        return re.findall(r'class="letter"[^>]*>([A-Z]+)<', self.svg)

    def contour(self, name: str) -> list[np.ndarray]:
        """Vertices of the polylines of a structure, picture coordinates."""
        data = re.search(rf' d="([^"]+)"><title>{name}</title>', self.svg)
        assert data is not None, name
        pieces = re.findall(r"M([^MZ]+)Z?", data.group(1))
        return [np.array(re.findall(r"-?[\d.]+", piece), float).reshape(-1, 2) for piece in pieces]

    def pictures(self) -> list[Image.Image]:
        """The image, then the doses."""
        from base64 import b64decode

        return [
            Image.open(BytesIO(b64decode(code))) for code in re.findall(r"data:image/png;base64,([^\"]+)", self.svg)
        ]


def views_of(html: str) -> list[ViewOnPage]:
    return [ViewOnPage(svg) for svg in re.findall(r'<svg class="view".*?</svg>', html, flags=re.DOTALL)]


def page_of(chain: Chain) -> str:
    return (chain.folder(chain.course.course_id, "qc") / "course.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session", params=POSITIONS)
def ball_chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallPatient, Chain]:
    work = tmp_path_factory.mktemp("balls")
    patient = two_balls(position=request.param)
    return patient, run_chain(patient.save(work / "in"), work / "out", without_networks(), stages=STAGES)


@pytest.fixture(scope="session")
def ball_page(ball_chain: tuple[SmallPatient, Chain]) -> tuple[SmallPatient, str]:
    patient, chain = ball_chain
    return patient, page_of(chain)


def outputs_of(chain: Chain) -> CourseOutputs:
    """What qc read of the only course."""
    course_id = chain.course.course_id
    inputs = {stage: chain.folder(course_id, stage) for stage in STAGES[:-1]} | {"organize": chain.root / "organize"}
    return CourseOutputs.read(
        StageContext("qc", COHORT, without_networks(), chain.root, inputs=inputs, course_id=course_id)
    )


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The clean small patient, all stages."""
    work: Path = tmp_path_factory.mktemp("clean")
    return run_chain(small_patient().save(work / "in"), work / "out", without_networks(), stages=STAGES)

"""Fixtures that several parts share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real DICOM-RT sets; the test is skipped where it is absent."""
    folder = Path(os.environ.get("RTPIPELINE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real DICOM-RT sets: set RTPIPELINE_TEST_DATA to their folder")
    return folder

"""Results of the fabricated store, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtpipeline.aggregation.stage import run
from tests.aggregation.fabricate import fabricate


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> Path:
    """Results folder of one course of every status. Tests only read it."""
    context = fabricate(tmp_path_factory.mktemp("store"))
    run(context)
    return context.out

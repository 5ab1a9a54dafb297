"""Synthetic patients: an analytic torso written as valid DICOM, with closed-form truth beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["make_cohort"]


def make_cohort(out: Path, *, patients: int = 6, seed: int = 7) -> dict[str, Any]:
    """Write `out/dicom/...` and `out/truth.json`; returns the truth (see `rtpipeline.demo.cohort`)."""
    from rtpipeline.demo.cohort import make_cohort as make  # pydicom and scipy load only when a cohort is made

    return make(out, patients=patients, seed=seed)

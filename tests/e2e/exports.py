"""Exports of small patients, and configurations, as files on the disk of the one who submits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rtpipeline.demo.small import SmallPatient, small_patient

SMALL = "small"
"""Cohort of three patients that several tests look at."""

QUICK: dict[str, Any] = {
    "segmentation": {"enabled": False},
    "custom_models": {"enabled": False},
    "radiomics": {"profile": "original", "mr_profile": "original-mr", "structures": ["GTV"]},
    "radiomics_robustness": {"profile": "demo", "structures": ["GTV"]},
}
"""Every stage ends within seconds; features and perturbed features of one structure."""


def patient(number: int, **changes: Any) -> SmallPatient:
    """Patient `number`, from 1: `PAT-<number>` and a name that no word of the project contains."""
    return small_patient(
        seed=number, patient_id=f"XQPAT-{number:03d}", patient_name=f"Xquandt^Zolthan{number}", **changes
    )


def save(export: Path, number: int, **changes: Any) -> SmallPatient:
    """Write a patient into a folder of the export that bears name and id, as hospitals do."""
    made = patient(number, **changes)
    made.save(export / f"Xquandt_XQPAT-{number:03d}")
    return made


def write_config(path: Path, **changes: dict[str, Any]) -> Path:
    """The quick configuration with fields of some sections changed."""
    settings = {name: dict(section) for name, section in QUICK.items()}
    for name, fields in changes.items():
        if isinstance(fields, dict):
            settings[name] = settings.get(name, {}) | fields
        else:
            settings[name] = fields
    path.write_text(yaml.safe_dump(settings))
    return path

"""Every fault of real exports that this version can find, by code."""

from __future__ import annotations

from tests.synthetic import (  # noqa: F401
    fault_contours,
    fault_courses,
    fault_dose_grids,
    fault_doses,
    fault_files,
    fault_images,
    fault_objects,
    fault_slices,
    fault_structures,
)
from tests.synthetic.registry import FAULTS, ODDITIES, Fault

__all__ = ["ELSEWHERE", "FAULTS", "ODDITIES", "Fault"]

_NETWORK = "made by the stage that runs TotalSegmentator: tests/segmentation/test_stage.py"
_PROGRAM = "made when the program of a network fails: tests/segmentation/test_totalsegmentator.py"
_MODELS = "made by the stage that runs custom models: tests/segmentation/test_custom_stage.py"
_BIOLOGY = "needs an alpha/beta or a table of constraints: tests/dvh/test_stage_biology.py"
_FEATURES = "made by the stage that computes features: tests/radiomics/test_stage.py"
_PERTURBED = "made by the stage that perturbs structures: tests/robustness/test_stage.py"
_RUNNER = "made by the runner about a stage, not by a stage about data: tests/execution"

ELSEWHERE: dict[str, str] = {
    "SEG_OOM": _PROGRAM,
    "SEG_FLIP": _NETWORK,
    "SEG_WEIGHTS_MISSING": _NETWORK,
    "SEG_EMPTY": _NETWORK,
    "SEG_NO_GPU": _NETWORK,
    "SEG_CPU": _NETWORK,
    "SEG_LICENSE": _NETWORK,
    "SEG_FAILED": _PROGRAM,
    "RES_SHM": _PROGRAM,
    "SS_SOURCES_DISAGREE": "needs two sources of one structure: tests/structures/test_agreement.py",
    "SS_DERIVED_MISSING": "needs definitions of derived structures: tests/structures/test_derive.py",
    "SS_CROP_LANDMARK": "needs a label map: tests/structures/test_crop.py",
    "SS_CROP_CLAMPED": "needs a label map: tests/structures/test_crop.py",
    "EQD2_NOT_COMPUTED": _BIOLOGY,
    "CONSTRAINT_NAME": _BIOLOGY,
    "MODEL_INVALID": _MODELS,
    "MODEL_REFUSED": _MODELS,
    "MODEL_UNGATED": _MODELS,
    "RAD_MASK_SMALL": _FEATURES,
    "RAD_GEOMETRY": _FEATURES,
    "RAD_MASK_LARGE": _FEATURES,
    "RAD_OUTSIDE_IMAGE": _FEATURES,
    "RAD_NOT_CALIBRATED": _FEATURES,
    "RAD_NO_SUV": _FEATURES,
    "RAD_FAILED": _FEATURES,
    "ROB_EDGE": _PERTURBED,
    "ROB_FAILED": _PERTURBED,
    "QC_PICTURE": "made by the stage that draws pictures: tests/qc/test_stage.py",
    "RES_TRANSIENT": _RUNNER,
    "RES_DATA": _RUNNER,
    "RES_MEMORY": _RUNNER,
    "RES_TIMEOUT": _RUNNER,
    "STAGE_FAULT": _RUNNER,
}
"""Codes without a fault here, and why."""

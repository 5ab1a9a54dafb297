"""Which table of which stage becomes which table of the results."""

from __future__ import annotations

from collections.abc import Sequence

from rtpipeline import __version__
from rtpipeline.aggregation.collect import Part
from rtpipeline.aggregation.run_plan import CollectedCourse

SOURCES: dict[str, tuple[tuple[str, str], ...]] = {
    "structures": (("structures", "structures.parquet"),),
    "segmentation": (("segmentation", "segmentation.parquet"), ("custom_models", "segmentation.parquet")),
    "agreement": (("structures", "agreement.parquet"),),
    "dvh_metrics": (("dvh", "dvh_metrics.parquet"),),
    "dvh_curves": (("dvh", "dvh_curves.parquet"),),
    "constraints": (("dvh", "constraints.parquet"),),
    "radiomics": (("radiomics", "radiomics.parquet"),),
    "robustness": (("robustness", "robustness.parquet"),),
    "qc": (("qc", "qc.parquet"),),
    "fractions": (("prepare_rt", "fractions.parquet"),),
    "tps_dvh": (("prepare_rt", "tps_dvh.parquet"),),
}
"""Table of the results to the stages and files that it is made of."""


def parts_of(name: str, courses: Sequence[CollectedCourse], cohort: str) -> list[Part]:
    """The parts of a table, in the order of the courses."""
    parts = []
    for collected in courses:
        for stage, file in SOURCES[name]:
            state = collected.stages[stage]
            path = state.table(file)
            if path is None:
                continue
            version = state.record.rtpipeline_version if state.record else ""
            envelope = {
                "cohort": cohort,
                "patient_id": collected.course.patient_id,
                "course_id": collected.course_id,
                "stage_key": state.key or "",
                "rtpipeline_version": version or __version__,
            }
            parts.append(Part(path, envelope))
    return parts

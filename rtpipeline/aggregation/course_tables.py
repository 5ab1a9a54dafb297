"""Which table of which stage becomes which table of the results."""

from __future__ import annotations

from collections.abc import Sequence

from rtpipeline import __version__
from rtpipeline.aggregation.collect import Part
from rtpipeline.aggregation.run_plan import CollectedCourse

SOURCES: dict[str, tuple[str, str] | None] = {
    "structures": ("structures", "structures.parquet"),
    "dvh_metrics": ("dvh", "dvh_metrics.parquet"),
    "dvh_curves": ("dvh", "dvh_curves.parquet"),
    "radiomics": ("radiomics", "radiomics.parquet"),
    "robustness": ("robustness", "robustness.parquet"),
    "robustness_summary": None,
    "qc": ("qc", "qc.parquet"),
    "fractions": ("prepare_rt", "fractions.parquet"),
    "tps_dvh": ("prepare_rt", "tps_dvh.parquet"),
}
"""Table of the results to (stage, file); None for a table that no stage of a course writes."""


def parts_of(name: str, courses: Sequence[CollectedCourse], cohort: str) -> list[Part]:
    """The parts of a table, in the order of the courses."""
    source = SOURCES[name]
    if source is None:
        return []
    stage, file = source
    parts = []
    for collected in courses:
        state = collected.stages[stage]
        path = state.table(file)
        if path is not None:
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

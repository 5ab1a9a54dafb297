"""THE TABLE OF CHECKS: every check declared once, with the finding codes that belong to it. Each finding of a course
is counted by exactly one check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from rtpipeline.config import QcConfig
from rtpipeline.qc import dose_measures, image_measures, measures, structure_measures
from rtpipeline.qc.measures import COURSE, Measured, Status
from rtpipeline.qc.outputs import CourseOutputs, Row

STATUSES: tuple[Status, ...] = ("fail", "warn", "pass", "not_evaluated")
"""In the order in which they are read; the first that a row has is the verdict of a course."""

OF_SEVERITY: dict[str, Status] = {"E": "fail", "W": "warn"}


@dataclass(frozen=True)
class Check:
    """One row of the table of checks."""

    name: str
    meaning: str
    """as a sentence that is true when the check passes"""
    codes: tuple[str, ...]
    """patterns of finding codes; of several checks with a fitting one the longest decides"""
    stage: str
    """that it looks at; without its result the check is not evaluated"""
    measure: Callable[[CourseOutputs, QcConfig], list[Measured]] | None = None
    """what it measures beyond the findings"""


CHECKS: tuple[Check, ...] = (
    Check("stages", "every stage ended well", ("RES_*", "STAGE_*"), "organize", measures.stages),
    Check("files", "every object of the course can be read",
          ("FILE_*", "ARCHIVE_*", "TEXT_*", "PRIVATE_*", "BURNED_*"), "organize"),
    Check("links", "objects belong together by reference", ("LINK_*", "OBJECT_*", "PATIENT_*", "COURSE_*"), "organize"),
    Check("images", "the images that are needed are there and prepared",
          ("IMG_*", "COURSE_NO_PLANNING_IMAGE"), "prepare_images", image_measures.images),
    Check("slices", "slices follow each other in equal steps",
          ("IMG_MISSING_SLICE", "IMG_NONUNIFORM_Z"), "prepare_images", image_measures.slices),
    Check("orientation", "slices are not sheared, and directions fit the patient position",
          ("IMG_ORIENTATION", "IMG_GANTRY_TILT", "IMG_OBLIQUE"), "prepare_images", image_measures.orientation),
    Check("image_values", "CT numbers are HU, and the body lies inside the field of view",
          ("IMG_RESCALE", "IMG_TRUNCATED_FOV", "IMG_CONTRAST"), "prepare_images", image_measures.values),
    Check("frames", "image, structures and dose share a frame of reference",
          ("SS_FOR_MISMATCH", "DOSE_FOR_MISMATCH", "REG_*"), "prepare_rt", image_measures.frames),
    Check("set_images", "each structure set is bound to the image that it references",
          ("SS_REFERENCES_OTHER_SERIES", "SS_MULTIPLE", "SS_ORDER"), "prepare_rt", image_measures.set_images),
    Check("contours", "contours are closed, planar and complete", ("SS_*",), "structures"),
    Check("volumes", "structures have a volume",
          ("SS_ROI_EMPTY", "SS_NO_VOLUME"), "structures", structure_measures.volumes),
    Check("names", "names are distinct and fit volume and side",
          ("SS_NAME_COLLISION", "SS_PLAUSIBILITY"), "structures", structure_measures.names),
    Check("derived", "derived and cropped structures could be made", ("SS_DERIVED_*", "SS_CROP_*"), "structures"),
    Check("agreement", "sources agree where a structure exists twice",
          ("SS_SOURCES_DISAGREE",), "structures", structure_measures.agreement),
    Check("dose_objects", "dose objects are usable and whole", ("DOSE_*",), "prepare_rt", dose_measures.dose_objects),
    Check("dose_coverage", "targets lie inside the dose grid", ("DOSE_GRID_COVERAGE",), "dvh", dose_measures.coverage),
    Check("dose_level", "dose and prescription fit each other",
          ("COURSE_IMPLAUSIBLE", "RX_*"), "dvh", dose_measures.dose_level),
    Check("constraints", "dose constraints are met, and EQD2 could be computed",
          ("CONSTRAINT_*", "EQD2_*"), "dvh", dose_measures.constraints),
    Check("plans", "plans that are used are approved", ("PLAN_*",), "prepare_rt", dose_measures.plans),
    Check("fractions", "what was planned was delivered",
          ("COURSE_REPLAN", "COURSE_BOOST"), "prepare_rt", dose_measures.fractions),
    Check("networks", "networks ran and found what they were asked for",
          ("SEG_*", "MODEL_*"), "segmentation", structure_measures.networks),
    Check("laterality", "segmented structures lie on their side",
          ("SEG_FLIP",), "segmentation", structure_measures.laterality),
    Check("radiomics", "structures have features", ("RAD_*",), "radiomics", structure_measures.features),
    Check("robustness", "perturbed structures have features", ("ROB_*",), "robustness", structure_measures.perturbed),
    Check("pictures", "pictures could be made", ("QC_*",), "organize"),
    Check("other", "no finding of another kind", ("*",), "organize"),
)  # fmt: skip
"""In the order of the work."""

NO_FINDING = "no finding"

ALSO: dict[str, tuple[str, ...]] = {"networks": ("custom_models",), "laterality": ("custom_models",)}
"""Further stages with which a check can be evaluated."""


@dataclass(frozen=True)
class CheckRow:
    """One row of qc.parquet."""

    check: Check
    object: str
    status: Status
    measured: str
    expected: str
    codes: tuple[str, ...]
    findings_e: int = 0
    findings_w: int = 0

    def row(self) -> Row:
        """As a row of the table, without its keys."""
        return {
            "check": self.check.name,
            "object": self.object,
            "status": self.status,
            "measured": self.measured,
            "expected": self.expected,
            "codes": ";".join(self.codes) or None,
            "findings_e": self.findings_e,
            "findings_w": self.findings_w,
        }


@cache
def check_of(code: str) -> Check:
    """The one check that a finding code belongs to."""
    fitting = [(len(p), -n, c) for n, c in enumerate(CHECKS) for p in c.codes if fnmatchcase(code, p)]
    return max(fitting, key=lambda f: f[:2])[2]


def run_checks(outputs: CourseOutputs, config: QcConfig, own: Iterable[Row] = ()) -> list[CheckRow]:
    """Every check of the table on one course, in the table's order.

    Parameters
    ----------
    own: findings of qc itself.
    """
    by_check: dict[str, list[Row]] = {c.name: [] for c in CHECKS}
    for found in (*outputs.findings, *own):
        by_check[check_of(found["code"]).name].append(found)
    return [row for check in CHECKS for row in _rows(check, outputs, config, by_check[check.name])]


def worst(rows: Sequence[CheckRow]) -> Status:
    """The verdict over all rows."""
    return next((s for s in STATUSES if any(r.status == s for r in rows)), "not_evaluated")


def worst_first(rows: Iterable[CheckRow]) -> list[CheckRow]:
    """Failed rows, then warnings, what passed, and what could not be evaluated, each in the table's order."""
    return sorted(rows, key=lambda r: (STATUSES.index(r.status), CHECKS.index(r.check)))


def _rows(check: Check, outputs: CourseOutputs, config: QcConfig, findings: Sequence[Row]) -> list[CheckRow]:
    measured = _measured(check, outputs, config)
    notes = tuple(dict.fromkeys(f["code"] for f in findings if f["severity"] not in OF_SEVERITY))
    grave = [f for f in findings if f["severity"] in OF_SEVERITY]
    by_object: dict[str, list[Row]] = {}
    for found in grave:
        by_object.setdefault(found["object"], []).append(found)
    if grave and [m.object for m in measured] == [COURSE] and COURSE not in by_object:
        measured = []  # the findings say more than that there was nothing to look at
    rows = [_joined(check, m, by_object.pop(m.object, [])) for m in measured]
    rows += [_joined(check, None, own) for own in by_object.values()]
    return [_noted(row, notes) if n == 0 else row for n, row in enumerate(rows)]


def _measured(check: Check, outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """What the check itself sees; a row that says why it sees nothing."""
    evaluable = [s for s in (check.stage, *ALSO.get(check.name, ())) if outputs.has_result(s)]
    if not evaluable:
        return measures.nothing(outputs.reason(check.stage))
    if check.measure is None:
        return [Measured(COURSE, "pass", NO_FINDING)]
    return check.measure(outputs, config)


def _joined(check: Check, measured: Measured | None, findings: Sequence[Row]) -> CheckRow:
    """A measured row with the findings on its object, or those alone."""
    statuses = [OF_SEVERITY[f["severity"]] for f in findings] + ([measured.status] if measured else [])
    texts = [measured.measured] if measured and not (findings and measured.measured == NO_FINDING) else []
    texts += [f["measured"] for f in findings]
    expected = measured.expected if measured and measured.expected else ""
    expected = expected or "; ".join(dict.fromkeys(f["expected"] for f in findings)) or check.meaning
    return CheckRow(
        check=check,
        object=measured.object if measured else findings[0]["object"],
        status=min(statuses, key=STATUSES.index),
        measured="; ".join(dict.fromkeys(texts)),
        expected=expected,
        codes=tuple(dict.fromkeys(f["code"] for f in findings)),
        findings_e=sum(f["severity"] == "E" for f in findings),
        findings_w=sum(f["severity"] == "W" for f in findings),
    )


def _noted(row: CheckRow, notes: Sequence[str]) -> CheckRow:
    """The row with the codes of what was merely recorded; the first row of a check carries them."""
    codes = tuple(dict.fromkeys((*row.codes, *notes)))
    return CheckRow(
        row.check, row.object, row.status, row.measured, row.expected, codes, row.findings_e, row.findings_w
    )

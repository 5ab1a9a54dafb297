"""The demo's patients as data: six kinds that differ in what was exported and how it is laid out.

All names, dates and numbers are invented. They are filled in everywhere, so that a leak would show.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from rtpipeline.demo.grid import Xyz
from rtpipeline.demo.write_rtplan import TWO_ARCS, TWO_FIELDS, Beam
from rtpipeline.demo.write_rtrecord import Fraction, treatment_fractions

ENGLISH = {
    "BODY": "BODY",
    "GTV": "GTV",
    "CTV": "CTV",
    "PTV": "PTV",
    "LUNG_LEFT": "Lung_L",
    "LUNG_RIGHT": "Lung_R",
    "HEART": "Heart",
    "CORD": "SpinalCord",
    "KIDNEY_LEFT": "Kidney_L",
    "KIDNEY_RIGHT": "Kidney_R",
    "BLADDER": "Bladder",
    "RING": "Ring_PTV",
}
SIB = {
    "BODY": "External",
    "GTV": "GTV_primary",
    "PTV_HIGH": "PTV_66",
    "PTV_MIDDLE": "PTV_60",
    "PTV_LOW": "PTV_54",
    "LUNG_LEFT": "Lt Lung",
    "LUNG_RIGHT": "Rt Lung",
    "HEART": "Heart",
    "CORD": "Spinal Cord",
    "KIDNEY_LEFT": "Lt Kidney",
    "KIDNEY_RIGHT": "Rt Kidney",
}
GERMAN = {
    "BODY": "Kontur",
    "GTV": "GTV",
    "CTV": "CTV",
    "PTV": "PTV",
    "LUNG_LEFT": "Lunge_li",
    "LUNG_RIGHT": "Lunge_re",
    "HEART": "Herz",
    "CORD": "Myelon",
    "KIDNEY_LEFT": "Niere_li",
    "KIDNEY_RIGHT": "Niere_re",
    "BLADDER": "Harnblase",
}
WITHOUT_PELVIS = {key: name for key, name in ENGLISH.items() if key not in ("BLADDER", "RING")}
"""Names of structures by what they are; each patient's ROIs are written in this order."""


@dataclass(frozen=True)
class DoseGridSpec:
    """layout: GridFrameOffsetVector "relative", "absolute" (z of the planes) or "descending" (from 0 downwards)."""

    spacing_xyz_mm: Xyz
    layout: str = "relative"


@dataclass(frozen=True)
class Phase:
    """One plan with its dose, linear in space: `centre_gy` at the middle of the lesion.

    levels: prescriptions in Gy by structure key, None for one that names no ROI. gradients: of the plan's dose, or of
    each beam's share when the dose is exported by beam. fractions_recorded: fractions 1 to this have a treatment
    record, on the working days after the plan's; second_of_day: those of them given on the day of the one before.
    """

    label: str
    days_after_ct: int
    fractions: int
    centre_gy: float
    levels: tuple[tuple[str | None, float], ...]
    gradients_gy_per_mm: tuple[Xyz, ...]
    grid: DoseGridSpec
    beams: tuple[Beam, ...] = TWO_ARCS
    fractions_recorded: int = 0
    second_of_day: tuple[int, ...] = ()

    @property
    def summation(self) -> str:
        """DoseSummationType of its objects: BEAM where each beam has a gradient of its own."""
        return "PLAN" if len(self.gradients_gy_per_mm) == 1 else "BEAM"


@dataclass(frozen=True)
class Kind:
    """One of the six kinds. names: structures by key; empty without a structure set."""

    course_kind: str
    description: str
    position: str
    spacing_xyz_mm: Xyz
    z_range_mm: tuple[float, float]
    names: dict[str, str]
    phases: tuple[Phase, ...] = ()
    exports_ct: bool = True
    zipped: bool = False
    keyhole: bool = False
    roi_number_step: int = 1
    subfolders: tuple[str, ...] = ("",)


KINDS: tuple[Kind, ...] = (
    Kind(
        "planned",
        "head first supine, one plan",
        "HFS",
        (2.5, 2.5, 3.0),
        (0.0, 510.0),
        ENGLISH,
        (
            Phase(
                "THORAX_1",
                6,
                25,
                50.0,
                (("PTV", 50.0),),
                ((0.03, 0.03, 0.07),),
                DoseGridSpec((3.0, 3.0, 4.0), "absolute"),
            ),
        ),
    ),
    Kind(
        "planned",
        "feet first supine, simultaneous integrated boost with three dose levels, exported as an archive",
        "FFS",
        (2.0, 2.0, 2.5),
        (150.0, 510.0),
        SIB,
        (
            Phase(
                "SIB 54/60/66",
                8,
                30,
                62.0,
                (("PTV_LOW", 54.0), ("PTV_MIDDLE", 60.0), ("PTV_HIGH", 66.0)),
                ((-0.04, 0.05, 0.08),),
                DoseGridSpec((2.5, 2.5, 3.0)),
            ),
        ),
        zipped=True,
        roi_number_step=3,
        subfolders=("1.2/A", "1.2/B"),
    ),
    Kind(
        "planned",
        "head first prone, two phases one after the other on one structure set, with the records of every fraction",
        "HFP",
        (3.0, 3.0, 3.0),
        (0.0, 510.0),
        GERMAN,
        (
            Phase(
                "Phase 1",
                5,
                25,
                50.0,
                (("PTV", 50.0),),
                ((0.03, -0.03, 0.07),),
                DoseGridSpec((4.0, 4.0, 4.0)),
                fractions_recorded=25,
                second_of_day=(12,),
            ),
            Phase(
                "Phase 2",
                40,
                8,
                16.0,
                (("PTV", 16.0),),
                ((0.01, 0.01, 0.02),),
                DoseGridSpec((3.0, 3.0, 2.5)),
                fractions_recorded=8,
            ),
        ),
        subfolders=("DISC1", "DISC2", "DISC3"),
    ),
    Kind("images_only", "CT only", "HFS", (3.0, 3.0, 5.0), (0.0, 510.0), {}),
    Kind(
        "structures_only",
        "structure set whose CT was not exported",
        "HFS",
        (3.0, 3.0, 3.0),
        (150.0, 510.0),
        WITHOUT_PELVIS,
        exports_ct=False,
    ),
    Kind(
        "planned",
        "head first decubitus left, a dose for each of two beams and none for the plan",
        "HFDL",
        (2.5, 2.5, 2.0),
        (150.0, 510.0),
        {**WITHOUT_PELVIS, "RING": "PTV_Ring"},
        (
            Phase(
                "AP/PA",
                9,
                25,
                50.0,
                ((None, 50.0),),
                ((0.02, 0.05, 0.04), (0.01, -0.03, 0.03)),
                DoseGridSpec((3.0, 3.0, 3.0), "descending"),
                TWO_FIELDS,
            ),
        ),
        keyhole=True,
        subfolders=("", "rt objects"),
    ),
)

WORDS = ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")
FIRST_STUDY = date(2024, 2, 5)
DAYS_BETWEEN_STUDIES = 19
OLDEST_BIRTH, YOUNGEST_BIRTH = date(1931, 5, 17), date(1984, 11, 23)
FOLDERS = (
    "{id} (RT export)",
    "thorax_sib {id}",
    "P#{number}_prone & boost",
    "{id}.CT",
    "only_RS__{id}",
    "decub-L={id}",
)


@dataclass(frozen=True)
class DemoPatient:
    """The patient with this number, counted from 1; kinds repeat after six."""

    number: int

    @property
    def kind(self) -> Kind:
        """What is made for this patient."""
        return KINDS[(self.number - 1) % len(KINDS)]

    @property
    def patient_id(self) -> str:
        """PatientID."""
        return f"DEMO-{self.number:03d}"

    @property
    def patient_name(self) -> str:
        """PatientName."""
        return f"Demo^Patient {WORDS[self.number - 1] if self.number <= len(WORDS) else self.number}"

    @property
    def birth_date(self) -> str:
        """PatientBirthDate; the fourth is older than 90."""
        if self.number == 4:
            return f"{OLDEST_BIRTH:%Y%m%d}"
        return f"{YOUNGEST_BIRTH - timedelta(days=1321 * (self.number % 11)):%Y%m%d}"

    @property
    def sex(self) -> str:
        """PatientSex."""
        return "FMO"[self.number % 3]

    def day_after(self, days: int) -> date:
        """The day this many days after the CT, in 2024 for every cohort of a usual size."""
        first = FIRST_STUDY + timedelta(days=DAYS_BETWEEN_STUDIES * (self.number - 1) % 250)
        return first + timedelta(days=days)

    def date_after(self, days: int) -> str:
        """`day_after` as YYYYMMDD."""
        return f"{self.day_after(days):%Y%m%d}"

    def fractions(self, phase: Phase) -> list[Fraction]:
        """The fractions of a phase that have a treatment record."""
        return treatment_fractions(self.day_after(phase.days_after_ct), phase.fractions_recorded, phase.second_of_day)

    @property
    def folder(self) -> str:
        """Of the export, in the manner of hospitals."""
        return FOLDERS[(self.number - 1) % len(FOLDERS)].format(id=self.patient_id, number=self.number)

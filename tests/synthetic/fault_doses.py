"""Faults of doses: units, scaling, and what a dose is the dose of."""

from __future__ import annotations

import json
from pathlib import Path

from pydicom.dataset import Dataset

from tests.synthetic.consequences import (
    RX_COLUMNS,
    assert_same_row,
    dvh,
    every,
    no_dose,
    same_numbers,
)
from tests.synthetic.edits import as_brachy, as_ion, beam_doses, new_dose, save_with_dose, second_plan, setup_doses
from tests.synthetic.pipeline import Chain
from tests.synthetic.registry import Consequence, E, I, W, fault, oddity, patient


def _basis(expected: str) -> Consequence:
    def then(chain: Chain, clean: Chain) -> None:
        assert {row["dose_basis"] for row in dvh(chain).values()} == {expected}
        same_numbers(chain, clean)

    return then


def _fate(role: str, code: str | None = None) -> Consequence:
    """What `dose_objects.json` says of the objects that did not make the dose."""

    def then(chain: Chain, clean: Chain) -> None:
        path = chain.folder(chain.course.course_id, "prepare_rt") / "dose_objects.json"
        fates = [(f["role"], f["code"]) for f in json.loads(path.read_text())]
        assert (role, code) in fates, fates

    return then


@fault("DOSE_UNITS", "relative", measured="DoseUnits RELATIVE", then=no_dose)
def dose_in_percent(folder: Path) -> None:
    """The dose was exported relative to the prescription."""
    save_with_dose(folder, DoseUnits="RELATIVE")


@fault("DOSE_UNITS", "missing", measured="DoseUnits missing", then=no_dose)
def dose_without_units(folder: Path) -> None:
    """A converter wrote a dose without units."""
    save_with_dose(folder, DoseUnits=None)


@fault("DOSE_UNITS", "centigray", measured="prescription 50.00 Gy", then=every(no_dose, _fate("refused", "DOSE_UNITS")))
def centigray_called_gray(folder: Path) -> None:
    """The system calculates in cGy and writes GY: everything is a hundred times too large."""
    save_with_dose(folder, DoseGridScaling="0.0001")


@fault("DOSE_SCALING_MISSING", "deleted", measured="DoseGridScaling missing", then=no_dose)
def no_scaling(folder: Path) -> None:
    """An anonymiser removed the scaling; a reader that assumes 1 finds millions of gray."""
    save_with_dose(folder, DoseGridScaling=None)


@fault("DOSE_SCALING_MISSING", "zero", measured="DoseGridScaling 0", then=no_dose)
def scaling_of_zero(folder: Path) -> None:
    """A dose was exported before it was calculated."""
    save_with_dose(folder, DoseGridScaling="0")


def effective_rows(chain: Chain, clean: Chain) -> None:
    """Rows that say what they are, with the same numbers."""
    for name, row in dvh(chain).items():
        assert row["dose_type"] == "EFFECTIVE"
        assert_same_row(row, {**dvh(clean)[name], "dose_type": "EFFECTIVE"})


@fault("DOSE_TYPE_EFFECTIVE", "ion", measured="DoseType EFFECTIVE", severity=W, then=effective_rows)
def weighted_dose(folder: Path) -> None:
    """A proton plan is exported as RBE-weighted dose."""
    save_with_dose(folder, DoseType="EFFECTIVE")


@fault("DOSE_TYPE_EFFECTIVE", "error", measured="DoseType ERROR", severity=E, then=no_dose)
def dose_difference(folder: Path) -> None:
    """The difference of two calculations was exported as a dose."""
    save_with_dose(folder, DoseType="ERROR")


def two_types_apart(chain: Chain, clean: Chain) -> None:
    """The physical dose under the plan's id, the weighted one under its own."""
    same_numbers(chain, clean)
    weighted = dvh(chain, "plan-01-effective")
    assert weighted.keys() == dvh(clean).keys()
    assert abs(weighted["PTV"]["dmean_gy"] - 1.1 * 50.0) < 1e-4


@fault("DOSE_TYPE_EFFECTIVE", "both", measured="DoseType EFFECTIVE", severity=W, then=two_types_apart)
def physical_and_weighted_dose(folder: Path) -> None:
    """A proton plan is exported as physical and as RBE-weighted dose."""
    made = patient()
    weighted = new_dose(made, made.dose.scaled(1.1))
    weighted.SOPInstanceUID, weighted.DoseType = made.study.uids("weighted"), "EFFECTIVE"
    made.extra.append(weighted)
    made.save(folder)


@fault("DOSE_SUMMATION_BEAM", "one missing", measured="beam 2 missing; 1 of 2", then=no_dose)
def one_beam_missing(folder: Path) -> None:
    """One dose for each beam was exported, and one of them was forgotten."""
    made = patient()
    made.rtdose, made.extra = None, beam_doses(made)[:1]
    made.save(folder)


@oddity(then=_basis("beam_sum"))
def a_dose_for_each_beam(folder: Path) -> None:
    """One dose for each beam was exported instead of the plan's."""
    made = patient()
    made.rtdose, made.extra = None, beam_doses(made)
    made.save(folder)


@oddity(then=_basis("beam_sum"))
def a_dose_for_each_ion_beam(folder: Path) -> None:
    """A proton plan has its beams in a sequence of its own, and each has a dose."""
    made = as_ion(patient())
    made.rtdose, made.extra = None, beam_doses(made)
    made.save(folder)


@oddity(then=_basis("brachy_sum"))
def a_dose_for_each_application_setup(folder: Path) -> None:
    """A brachytherapy plan of two application setups was exported with a dose for each."""
    made = as_brachy(patient())
    made.rtdose, made.extra = None, setup_doses(made)
    made.save(folder)


@fault("DOSE_SUMMATION_BEAM", "setup missing", measured="missing; 1 of 2", then=no_dose)
def one_application_setup_missing(folder: Path) -> None:
    """The dose of the second applicator was not exported."""
    made = as_brachy(patient())
    made.rtdose, made.extra = None, setup_doses(made)[:1]
    made.save(folder)


@fault("DOSE_SUMMATION_FRACTION", "single fraction", measured="fits only x 25 fractions", severity=E, then=no_dose)
def dose_of_one_fraction(folder: Path) -> None:
    """The dose of one fraction is called FRACTION, which means the whole fraction group."""
    made = patient()
    made.rtdose = new_dose(made, made.dose.scaled(1 / 25), summation="FRACTION")
    made.save(folder)


@fault("DOSE_SUMMATION_FRACTION", "plan of one fraction", measured="fits only x 25 fractions", severity=E,
       then=every(no_dose, _fate("refused", "DOSE_SUMMATION_FRACTION")))  # fmt: skip
def plan_dose_of_one_fraction(folder: Path) -> None:
    """The dose of one fraction is called PLAN."""
    made = patient()
    made.rtdose = new_dose(made, made.dose.scaled(1 / 25))
    made.save(folder)


@fault("DOSE_SUMMATION_FRACTION", "session", measured="FRACTION_SESSION x 25 fractions", severity=W,
       then=_basis("session_times_fractions"))  # fmt: skip
def dose_of_a_session(folder: Path) -> None:
    """The dose of one session is called so, and there is one fraction group."""
    made = patient()
    made.rtdose = new_dose(made, made.dose.scaled(1 / 25), summation="FRACTION_SESSION", scaling_gy="0.00000004")
    made.save(folder)


@oddity(then=_basis("fraction_group_sum"))
def fraction_group_with_the_total(folder: Path) -> None:
    """The whole dose of the only fraction group is called FRACTION, as the standard has it."""
    made = patient()
    made.rtdose = new_dose(made, summation="FRACTION")
    made.save(folder)


@fault("DOSE_SUMMATION_PLAN_AND_BEAM", "agree", measured="sum of 2 BEAM differs from PLAN by at most", severity=I,
       then=every(_basis("plan"), _fate("verifies")))  # fmt: skip
def plan_and_beams(folder: Path) -> None:
    """The plan's dose and each beam's were exported; added together they would count twice."""
    made = patient()
    made.extra = beam_doses(made)
    made.save(folder)


@fault("DOSE_SUMMATION_PLAN_AND_BEAM", "differ", measured="by at most 4 %", severity=W, then=_basis("plan"))
def plan_and_older_beams(folder: Path) -> None:
    """The beams were calculated before the plan was normalised."""
    made = patient()
    made.extra = [
        new_dose(made, made.dose.scaled(0.96 * share), summation="BEAM", beam=beam)
        for beam, share in ((1, 0.6), (2, 0.4))
    ]
    made.save(folder)


def sum_is_the_total(chain: Chain, clean: Chain) -> None:
    """The total is that dose, and not that dose and its parts."""
    same_numbers(chain, clean)
    total = dvh(chain, "total")
    assert abs(total["PTV"]["dmean_gy"] - 66.0) < 1e-4 and total["PTV"]["dose_basis"] == "multi_plan"
    assert abs(dvh(chain, "plan-02")["PTV"]["dmean_gy"] - 16.0) < 1e-4


def _multi_plan(made: object, plans: list[Dataset]) -> Dataset:
    ds = new_dose(made, made.dose.scaled(66 / 50), summation="MULTI_PLAN", plan=plans[0])  # type: ignore[attr-defined, arg-type]
    ds.SOPInstanceUID = made.study.uids("plan sum")  # type: ignore[attr-defined]
    references = [item for plan in plans for item in new_dose(made, plan=plan).ReferencedRTPlanSequence]  # type: ignore[arg-type]
    ds.ReferencedRTPlanSequence = references
    return ds


@fault("DOSE_MULTI_PLAN", "sum", measured="MULTI_PLAN dose of 2 plans", then=sum_is_the_total, also=("PLAN_MULTIPLE",))
def a_plan_sum(folder: Path) -> None:
    """The planning system's sum of two phases was exported beside the phases."""
    made = patient()
    plan, dose = second_plan(made)
    made.extra = [plan, dose, _multi_plan(made, [made.rtplan, plan])]  # type: ignore[list-item]
    made.save(folder)


def no_prescription(chain: Chain, clean: Chain) -> None:
    """Rows of a dose of its own, the same doses, and no prescription."""
    for name, row in dvh(chain, "dose-01").items():
        assert_same_row(row, {**dvh(clean)[name], **dict.fromkeys(RX_COLUMNS)})
    assert dvh(chain, "dose-01").keys() == dvh(clean).keys()


@fault("DOSE_NO_PLAN", "no plan", measured="PLAN dose, its plan is", then=no_prescription)
def a_dose_without_its_plan(folder: Path) -> None:
    """Dose and structures were exported, the plan was not."""
    made = patient()
    made.rtplan = None
    made.save(folder)


@fault("DOSE_NOT_USED", "overview", measured="DoseSummationType PLAN_OVERVIEW", then=every(
    no_dose, _fate("listed", "DOSE_NOT_USED")))  # fmt: skip
def an_overview(folder: Path) -> None:
    """An overview of plans is no dose of one."""
    save_with_dose(folder, DoseSummationType="PLAN_OVERVIEW")


@fault("DOSE_NOT_USED", "two versions", measured="2 PLAN doses that differ", severity=E, then=no_dose)
def two_versions_of_a_dose(folder: Path) -> None:
    """The dose was calculated again, and both versions were exported for one plan."""
    made = patient()
    again = new_dose(made, made.dose.scaled(1.02))
    again.SOPInstanceUID = made.study.uids("dose again")
    made.extra.append(again)
    made.save(folder)


@fault("DOSE_NOT_USED", "copy", measured="the same dose as rd-01", severity=I, then=same_numbers)
def a_dose_copied(folder: Path) -> None:
    """The dose was exported twice under two UIDs."""
    made = patient()
    again = new_dose(made)
    again.SOPInstanceUID = made.study.uids("dose again")
    made.extra.append(again)
    made.save(folder)

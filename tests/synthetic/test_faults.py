"""Faults of real exports: each is found and named rightly, has the consequence that is promised, and no other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rtpipeline.contracts.findings import Finding, catalogue
from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.errors import ExitCode
from tests.synthetic.consequences import assert_same_rows, dvh
from tests.synthetic.faults import ELSEWHERE, FAULTS, ODDITIES, Fault
from tests.synthetic.pipeline import Chain, run_chain

ChainOf = Callable[[str], Chain]

IDENTIFYING = ("Demo^", "DEMO-9", "1.2.826.", "20240304", "19580214", ".dcm")
"""Parts of names, ids, UIDs, dates and file names of the small patient."""


def test_the_clean_patient_shows_no_finding(clean: Chain) -> None:
    assert [f.row() for f in clean.findings] == []
    assert set(clean.codes.values()) == {ExitCode.DONE}
    assert len(clean.rows("dvh", "dvh_metrics")) == 4


def test_every_code_has_a_fault_or_a_reason_why_not() -> None:
    covered = {fault.code for fault in FAULTS.values()}
    assert not covered & ELSEWHERE.keys(), "codes with a fault need no reason"
    assert covered | ELSEWHERE.keys() == catalogue().keys()


@pytest.mark.parametrize("key", FAULTS)
def test_the_fault_is_found(key: str, chain_of: ChainOf) -> None:
    fault, chain = FAULTS[key], chain_of(key)
    assert chain.finding_codes == {fault.code} | fault.also
    assert fault.code not in fault.also
    hits = [f for f in chain.found(fault.code) if _fits(f, fault)]
    assert hits, [f.row() for f in chain.found(fault.code)]
    expected = None if fault.course is None else chain.manifest.courses[fault.course]
    for hit in hits:
        assert hit.course_id == (expected.course_id if expected else None)
        assert expected is None or hit.patient_id == expected.patient_id


def _fits(found: Finding, fault: Fault) -> bool:
    return (found.severity, found.scope) == (fault.severity, fault.scope) and fault.measured in found.measured


@pytest.mark.parametrize("key", FAULTS)
def test_every_finding_says_what_was_measured_and_what_to_do(key: str, chain_of: ChainOf) -> None:
    for found in chain_of(key).findings:
        for text in (found.object, found.measured, found.expected, found.action, found.remedy, found.stage):
            assert text and text.strip()
        assert not [part for part in IDENTIFYING if part in str(found.row())]


@pytest.mark.parametrize("key", FAULTS)
def test_the_fault_has_its_consequence(key: str, chain_of: ChainOf, clean: Chain) -> None:
    FAULTS[key].then(chain_of(key), clean)


@pytest.mark.parametrize("key", FAULTS)
def test_the_fault_is_none_of_the_program(key: str, chain_of: ChainOf) -> None:
    """`run_chain` fails on a traceback; here: how each stage ended."""
    for (course_id, stage), code in chain_of(key).codes.items():
        assert code in (ExitCode.DONE, ExitCode.DATA), f"{stage} of {course_id or 'the cohort'} ended with {code!r}"


@pytest.mark.parametrize("key", ODDITIES)
def test_what_only_looks_odd_is_no_finding(key: str, chain_of: ChainOf, clean: Chain) -> None:
    chain = chain_of(key)
    assert [f.row() for f in chain.findings] == []
    ODDITIES[key].then(chain, clean)


NEIGHBOUR_OF = (
    "FILE_UID_CONFLICT/dose",
    "FILE_TRUNCATED/structure set",
    "PATIENT_MISMATCH/two identities",
    "PATIENT_MISMATCH/no id",
    "IMG_MISSING_SLICE/refused",
    "SS_NUMBER_REUSE/pair",
    "DOSE_UNITS/centigray",
    "COURSE_REPLAN/adapted",
)
"""Faults that refuse files, a patient, an image, structures, a dose, a sum."""


def _neighbour() -> SmallPatient:
    return small_patient(seed=7, patient_id="DEMO-977", patient_name="Demo^Neighbour")


@pytest.fixture(scope="module")
def neighbour_alone(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("neighbour")
    _neighbour().save(folder / "export")
    return run_chain(folder / "export", folder / "work")


@pytest.mark.parametrize("key", NEIGHBOUR_OF)
def test_a_clean_patient_beside_a_faulty_one_is_untouched(key: str, neighbour_alone: Chain, tmp_path: Path) -> None:
    _neighbour().save(tmp_path / "export" / "clean")
    (tmp_path / "export" / "faulty").mkdir()
    FAULTS[key].write(tmp_path / "export" / "faulty")
    # the same secret gives the same ids
    shutil.copytree(neighbour_alone.root / "private", tmp_path / "work" / "private")
    chain = run_chain(tmp_path / "export", tmp_path / "work")
    (mine,) = neighbour_alone.manifest.courses
    assert len(chain.manifest.courses) > 1
    for stage, name in (("structures", "structures"), ("dvh", "dvh_metrics"), ("dvh", "dvh_curves")):
        beside, alone = (c.table(stage, name, mine.course_id) for c in (chain, neighbour_alone))
        assert len(alone) == 4 and beside.equals(alone)
    assert not [f.row() for f in chain.findings if f.course_id == mine.course_id]


def test_turning_the_patient_changes_no_number(chain_of: ChainOf, clean: Chain) -> None:
    """The same anatomy stored head or feet first, supine, prone or lying on a side."""
    positions = [key for key in ODDITIES if key.startswith("nothing/position_")]
    assert len(positions) == 7
    for key in positions:
        assert_same_rows(dvh(chain_of(key)), dvh(clean))

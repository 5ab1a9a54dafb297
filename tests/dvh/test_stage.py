"""What the user's manifest does to the rows of the DVH."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rtpipeline.config import Config
from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.dvh.dose_links import dose_link
from tests.synthetic.pipeline import Chain, run_chain

FLOAT32 = 1e-6
"""Relative; doses are stored in float32."""


@pytest.fixture
def patient() -> SmallPatient:
    return small_patient()


def chain_of(patient: SmallPatient, folder: Path, *rows: str) -> Chain:
    """Rows below `patient_id,plan_uid,structure,rx_gy,fractions_delivered`, with UID for the plan's."""
    assert patient.rtplan is not None
    lines = ["patient_id,plan_uid,structure,rx_gy,fractions_delivered", *rows]
    path = folder / "manifest.csv"
    path.write_text("\n".join(lines).replace("UID", str(patient.rtplan.SOPInstanceUID)) + "\n")
    return run_chain(patient.save(folder / "export"), folder / "work", Config(manifest=path))


def ptv(chain: Chain) -> dict[str, dict[str, object]]:
    """Rows of the PTV by dose."""
    return {str(r["dose_id"]): r for r in chain.rows("dvh", "dvh_metrics") if r["structure_name"] == "PTV"}


@pytest.mark.parametrize("row", [",UID,,,10", "DEMO-900,,,,10"])
def test_a_plan_stopped_after_10_of_25_fractions_has_a_total_without_prescription(
    patient: SmallPatient, tmp_path: Path, row: str
) -> None:
    chain = chain_of(patient, tmp_path, row)
    rows = ptv(chain)
    assert {i: r["dose_basis"] for i, r in rows.items()} == {"plan-01": "plan", "total": "delivered_fractions"}
    assert rows["total"]["dmean_gy"] == pytest.approx(0.4 * float(rows["plan-01"]["dmean_gy"]), rel=FLOAT32)  # type: ignore[arg-type]
    assert rows["plan-01"]["rx_gy"] == 50.0
    assert np.isnan(rows["total"]["rx_gy"])  # type: ignore[call-overload]
    assert chain.findings == []


def test_the_prescription_of_the_plan_in_the_manifest_is_that_of_its_ptv(patient: SmallPatient, tmp_path: Path) -> None:
    row = ptv(chain_of(patient, tmp_path, ",UID,,48,"))["plan-01"]
    assert (row["rx_gy"], row["prescription_source"]) == (48.0, "manifest")


def test_a_name_that_no_structure_has_is_told(patient: SmallPatient, tmp_path: Path) -> None:
    (found,) = chain_of(patient, tmp_path, ",UID,ptv,48,").findings
    assert (found.code, found.severity, found.measured) == ("OBJECT_NOT_USED", "W", "no structure is called 'ptv'")


def image_structure(source: str = "totalsegmentator") -> dict[str, object]:
    return {"structure_source": source, "structure_set_id": f"{source}-ct-01", "image_id": "ct-01"}


@pytest.mark.parametrize(
    ("dose_frame", "image_frame", "set_frame", "linked", "expected"),
    [
        ("A", "A", None, [], "image_frame"),
        ("B", "A", None, [], None),
        (None, None, None, [], None),
        ("B", "A", "A", ["rs-01"], "image_frame"),  # a registration says that A and B are one
        ("B", "A", "B", ["rs-01"], None),  # drawn in the dose's frame, which is not the image's
        ("B", "A", "A", [], None),
    ],
)
def test_a_structure_made_on_an_image_is_met_by_the_doses_in_its_frame(
    dose_frame: str | None, image_frame: str | None, set_frame: str | None, linked: list[str], expected: str | None
) -> None:
    links = [{"structure_set_id": i, "link": "registration"} for i in linked]
    facts = {"dose_id": "plan-01", "frame_hash": dose_frame, "structure_sets": links}
    sets = [SimpleNamespace(structure_set_id="rs-01", image_id="ct-01", frame_hash=set_frame)] if set_frame else []
    course = SimpleNamespace(images=[SimpleNamespace(image_id="ct-01", frame_hash=image_frame)], structure_sets=sets)
    link = dose_link(facts, image_structure(), course)  # type: ignore[arg-type]
    assert (link.rule if link else None) == expected
    manual = {"structure_source": "manual", "structure_set_id": "rs-01", "image_id": "ct-01"}
    link = dose_link(facts, manual, course)  # type: ignore[arg-type]
    assert (link.rule if link else None) == ("registration" if linked else None)

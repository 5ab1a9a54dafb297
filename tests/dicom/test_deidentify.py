"""Replaced UIDs and headers made of listed attributes."""

from __future__ import annotations

import json
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import UID

from rtpipeline.demo.small import small_patient
from rtpipeline.dicom.deidentify import code_values, plain_text, pseudonymous_uid, series_template, template_datasets
from rtpipeline.dicom.series import SliceHeader

SECRET = b"one secret of thirty-two letters"


@given(st.text("0123456789.", min_size=1, max_size=64))
def test_a_replaced_uid_is_valid_and_always_the_same(uid: str) -> None:
    replaced = pseudonymous_uid(SECRET, uid)
    assert UID(replaced).is_valid
    assert len(replaced) <= 44
    assert replaced == pseudonymous_uid(SECRET, uid)
    assert replaced != pseudonymous_uid(b"another secret", uid)
    assert uuid.UUID(int=int(replaced.removeprefix("2.25."))).version == 8
    assert uuid.UUID(int=int(replaced.removeprefix("2.25."))).variant == uuid.RFC_4122


def test_different_uids_stay_different() -> None:
    assert len({pseudonymous_uid(SECRET, f"1.2.3.{k}") for k in range(2000)}) == 2000


def test_text_of_a_device_keeps_plain_characters_only() -> None:
    assert plain_text("SIEMENS / MIM Software") == "SIEMENS / MIM Software"
    assert plain_text(["Br40d", "3"]) == "Br40d/3"
    assert plain_text("Mü\nller\\^|<x>" + "y" * 99) == ("Mllerx" + "y" * 99)[:64]
    assert plain_text(None) == ""


def test_code_strings_that_are_none_are_left_out() -> None:
    assert code_values(["ORIGINAL", "PRIMARY", "Doe^John", "AXIAL"]) == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert code_values("chest of J. Doe") == []


def template(ds: Dataset, frame_uid: str = "1.9.9") -> dict[str, object]:
    plane = SliceHeader("1.2.3", 0, (-123.456789, 1e-7, 0.1 + 0.2), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0.5, 0.5), 4, 5)
    return series_template(
        ds, [plane], patient_id="pabc", study_uid="1.2.77", series_uid="1.2.88", frame_uid=frame_uid, secret=SECRET
    )


def test_only_listed_attributes_are_taken_over() -> None:
    """Every attribute of the whole standard that holds text would do: one that nobody thought of must not pass."""
    ds = small_patient().ct[0]
    for keyword in ("PatientComments", "OperatorsName", "ProtocolName", "DeviceSerialNumber", "PatientAddress"):
        setattr(ds, keyword, "LEAK")
    ds.PatientName, ds.PatientID, ds.StationName, ds.BodyPartExamined = "LEAK", "LEAK", "LEAK", "leak"
    ds.add_new(0x00091001, "LO", "LEAK")
    text = json.dumps(template(ds))
    assert "LEAK" not in text
    assert "leak" not in text
    assert set(re.findall(r"\b1\.2\.(?:3|77|88)\b|\b1\.9\.9\b", text)) == set()


def test_headers_come_back_with_replaced_references() -> None:
    (header,) = template_datasets(template(small_patient().ct[0]))
    assert header.StudyInstanceUID == pseudonymous_uid(SECRET, "1.2.77")
    assert header.SeriesInstanceUID == pseudonymous_uid(SECRET, "1.2.88")
    assert header.FrameOfReferenceUID == pseudonymous_uid(SECRET, "1.9.9")
    assert header.SOPInstanceUID == pseudonymous_uid(SECRET, "1.2.3")
    assert header.ImagePositionPatient == pytest.approx([-123.456789, 1e-7, 0.3], abs=1e-8)
    assert all(len(str(v)) <= 16 for v in header.ImagePositionPatient)
    assert (header.PatientBirthDate, header.StudyDate, header.PatientSex) == ("", "", "")


def test_a_series_without_a_frame_of_reference_gets_one_of_its_own() -> None:
    made = template(small_patient().ct[0], frame_uid="")
    assert made["frame_of_reference_stated"] is False
    (header,) = template_datasets(made)
    assert UID(header.FrameOfReferenceUID).is_valid
    assert header.FrameOfReferenceUID != template_datasets(template(small_patient().ct[0]))[0].FrameOfReferenceUID

"""Copies are dropped, different objects under one UID are refused, and nothing is decided by the UID alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from rtpipeline.contracts.findings import Finding
from rtpipeline.dicom.content import Content
from rtpipeline.dicom.duplicates import Row, resolve
from rtpipeline.store.identity import keyed_hash
from tests.dicom.dicom_files import SECRET, bare, codes, ct_slice, dose, part10, put, scanned, structure_set


def resolved(folder: Path) -> tuple[dict[str, str], list[Finding]]:
    result = scanned(folder)
    use, findings = resolve(result.table, result.opener, SECRET)
    return dict(zip(result.table["path"].to_pylist(), use, strict=True)), findings


def changed(make: Callable[[], Dataset], **elements: Any) -> bytes:
    ds = make()
    for name, value in elements.items():
        setattr(ds, name, value)
    return part10(ds)


def test_equal_copies_are_dropped_whatever_their_encoding(tmp_path: Path) -> None:
    put(tmp_path, {"a": part10(ct_slice()), "b": bare(ct_slice()), "c": part10(ct_slice(), RLELossless)})
    put(tmp_path, {"d": part10(structure_set()), "e": part10(structure_set(), ImplicitVRLittleEndian)})
    use, findings = resolved(tmp_path)
    assert use == {"a": "used", "b": "duplicate", "c": "duplicate", "d": "used", "e": "duplicate"}
    assert {(one.object, one.measured) for one in findings} == {
        (f"CT series {keyed_hash(SECRET, '2.25.2')}", "1 object, 2 further copies"),
        (f"RTSTRUCT {keyed_hash(SECRET, '2.25.3.1')}", "1 object, 1 further copy"),
    }


def test_equal_copies_are_not_opened_again(tmp_path: Path) -> None:
    put(tmp_path, {"a": part10(ct_slice()), "b": bare(ct_slice())})

    def never(rows: Sequence[Row]) -> Iterable[tuple[Row, Content]]:
        raise AssertionError(rows)

    assert resolve(scanned(tmp_path).table, never, SECRET)[0] == ["used", "duplicate"]


@pytest.mark.parametrize(
    ("make", "harmless", "named"),
    [
        (ct_slice, {"StationName": "B", "PatientName": "Anon"}, "PatientName, StationName"),
        (structure_set, {"StructureSetLabel": "Copy"}, "StructureSetLabel"),
        (dose, {"DoseComment": "a copy"}, "DoseComment"),
    ],
)
def test_copies_that_differ_in_descriptions_count_as_equal_and_the_difference_is_named(
    make: Callable[[], Dataset], harmless: dict[str, Any], named: str, tmp_path: Path
) -> None:
    put(tmp_path, {"a": part10(make()), "b": changed(make, **harmless)})
    use, findings = resolved(tmp_path)
    assert use == {"a": "used", "b": "duplicate"}
    assert codes(findings) == ["FILE_DUPLICATE"]
    assert findings[0].measured == f"1 object, 1 further copy; they differ only in {named}"


@pytest.mark.parametrize(
    ("make", "change", "named"),
    [
        (ct_slice, {"PixelData": bytes(128)}, "PixelData"),
        (ct_slice, {"ImagePositionPatient": [0, 0, 1]}, "ImagePositionPatient"),
        (dose, {"DoseGridScaling": "0.002", "DoseComment": "x"}, "DoseComment, DoseGridScaling"),
        (structure_set, {"ROIContourSequence": []}, "ROIContourSequence"),
    ],
)
def test_different_objects_under_one_uid_are_all_refused(
    make: Callable[[], Dataset], change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    put(tmp_path, {"a": part10(make()), "b": changed(make, **change), "c": part10(make())})
    use, findings = resolved(tmp_path)
    assert use == {"a": "conflict", "b": "conflict", "c": "conflict"}
    assert codes(findings) == ["FILE_UID_CONFLICT"]
    assert findings[0].measured == (
        f"1 object, 2 further copies with the same SOP instance UID; they differ in {named}"
    )


def test_conflicts_of_a_series_are_one_finding(tmp_path: Path) -> None:
    put(tmp_path, {f"a{n}": part10(ct_slice(n)) for n in range(6)})
    put(tmp_path, {f"b{n}": changed(lambda n=n: ct_slice(n), PixelData=bytes(128)) for n in range(2, 6)})  # type: ignore[misc]
    use, findings = resolved(tmp_path)
    assert sorted(use.values()) == ["conflict"] * 8 + ["used"] * 2
    assert [one.measured[:28] for one in findings] == ["4 objects, 4 further copies "]


def test_a_cut_copy_is_set_aside_and_the_whole_one_used(tmp_path: Path) -> None:
    put(tmp_path, {"a": part10(ct_slice())[:-30], "b": part10(ct_slice())})
    use, findings = resolved(tmp_path)
    assert use == {"a": "quarantined", "b": "used"}
    assert findings == []


def test_a_copy_that_can_be_decoded_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"a": part10(ct_slice(), RLELossless), "b": part10(ct_slice())})
    assert resolved(tmp_path)[0] == {"a": "used", "b": "duplicate"}
    monkeypatch.setattr("rtpipeline.dicom.duplicates.can_decode", lambda uid: uid != RLELossless)
    assert resolved(tmp_path)[0] == {"a": "duplicate", "b": "used"}


def test_without_proof_of_equality_all_are_refused(tmp_path: Path) -> None:
    put(tmp_path, {"a": part10(dose()), "b": part10(dose(seed=1))})
    table = scanned(tmp_path).table
    use, findings = resolve(table, lambda rows: [], SECRET)
    assert use == ["conflict", "conflict"]
    assert "cannot be read" in findings[0].measured
    column = table.schema.get_field_index("content_sha256")
    unread = table.set_column(column, "content_sha256", [["", ""]])
    assert resolve(unread, lambda rows: [], SECRET)[0] == ["conflict", "conflict"]


def test_objects_without_uid_are_not_compared(tmp_path: Path) -> None:
    files = {}
    for name in "ab":
        ds = dose()
        del ds.SOPInstanceUID
        files[name] = bare(ds)
    assert resolved(put(tmp_path, files))[0] == {"a": "used", "b": "used"}

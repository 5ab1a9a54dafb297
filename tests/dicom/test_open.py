"""Indexed objects are read again from wherever they are."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from rtpipeline.contracts.findings import Severity
from rtpipeline.dicom import objects
from rtpipeline.dicom.open import open_many, read_dataset
from rtpipeline.errors import DataError
from tests.dicom.dicom_files import bare, ct_slice, dose, part10, put, scanned
from tests.dicom.test_archives import as_tar, as_zip


@pytest.fixture
def export(tmp_path: Path) -> Path:
    inner = as_zip({"n": part10(ct_slice(5))})
    return put(
        tmp_path / "export",
        {
            "plain": part10(ct_slice(1)),
            "old": bare(ct_slice(2)),
            "s.dcm.gz": gzip.compress(part10(ct_slice(3))),
            "t.tar.xz": lzma.compress(as_tar({"d/4": part10(ct_slice(4)), "in.zip": inner, "rd": part10(dose())})),
        },
    )


def test_every_row_is_opened_as_the_object_it_describes(export: Path) -> None:
    rows = scanned(export).table.to_pylist()
    assert len(rows) == 6
    opened = list(open_many(rows, [export]))
    assert [row["sop_instance_uid"] for row, _ in opened] == [ds.SOPInstanceUID for _, ds in opened]
    assert {row["sop_instance_uid"] for row, _ in opened} == {row["sop_instance_uid"] for row in rows}
    for row, ds in opened:
        assert list(ds.ImagePositionPatient) == row["position"]
        assert ds.pixel_array.shape[-2:] == (row["rows"], row["columns"])
        assert read_dataset([export], row).PixelData == ds.PixelData


def test_an_inferred_transfer_syntax_is_set(export: Path) -> None:
    rows = {row["path"]: row for row in scanned(export).table.to_pylist()}
    assert read_dataset([export], rows["old"]).file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert read_dataset([export], rows["plain"]).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_pixels_can_be_left_out(export: Path) -> None:
    row = scanned(export).table.to_pylist()[0]
    assert "PixelData" not in read_dataset([export], row, stop_before_pixels=True)


def test_an_archive_is_opened_once_for_all_its_members(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for row in scanned(export).table.to_pylist() if row["path"] == "t.tar.xz"]
    opened = []
    original = objects.SourceFile.__init__

    def counting(self: objects.SourceFile, path: Path) -> None:
        opened.append(path.name)
        original(self, path)

    monkeypatch.setattr(objects.SourceFile, "__init__", counting)
    assert len(list(open_many(reversed(rows), [export]))) == 3
    assert opened == ["t.tar.xz"]


def test_an_object_that_is_gone_is_a_data_error_that_says_so(export: Path) -> None:
    rows = {row["path"]: row for row in scanned(export).table.to_pylist()}
    row = {**rows["t.tar.xz"], "member": "absent", "object_hash": "0123456789ab"}
    (export / "plain").unlink()
    for wanted in (row, rows["plain"]):
        with pytest.raises(DataError) as raised:
            read_dataset([export], wanted)
        (finding,) = raised.value.findings
        assert (finding.code, finding.severity) == ("FILE_TRUNCATED", Severity.ERROR)
        assert str(export) not in str(raised.value)
        assert rows["plain"]["sop_instance_uid"] not in str(raised.value)
    assert finding.object == "CT object"

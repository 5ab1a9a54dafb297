"""The pass over an export: the same result for any number of workers, findings without identities."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtpipeline.contracts.findings import Severity
from rtpipeline.contracts.index import SCAN_SCHEMA
from rtpipeline.dicom import scan as scan_module
from rtpipeline.dicom import scan_tasks
from rtpipeline.dicom.scan import scan
from rtpipeline.dicom.scan_pool import ScanPool
from rtpipeline.dicom.scan_tasks import ScanTask
from rtpipeline.errors import TransientError, UsageError
from rtpipeline.store.identity import keyed_hash
from tests.dicom.dicom_files import SECRET, bare, codes, ct_slice, part10, put, scanned
from tests.dicom.test_archives import as_tar, as_zip


def test_every_object_is_one_row_in_the_order_of_the_sources(export: Path) -> None:
    result = scanned(export, export / "ct")
    assert result.table.schema.equals(SCAN_SCHEMA)
    places = list(zip(*(result.table[n].to_pylist() for n in ("source", "path", "member")), strict=True))
    assert places == sorted(places)
    assert len(set(places)) == len(places) == 20
    assert result.counts["objects"] == {"image": 17, "rtdose": 2, "rtstruct": 1}
    assert result.counts["files"] == 18
    assert (result.counts["archives"], result.counts["members"]) == (2, 6)
    assert result.counts["not_dicom"] == {"empty": 1, "text": 1}


def test_processes_change_nothing(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "CHUNK_FILES", 3)
    monkeypatch.setattr(scan_tasks, "ZIP_PART_MEMBERS", 2)
    one, two = scanned(export), scanned(export, workers=2)
    assert one.table.equals(two.table)
    assert one.findings == two.findings
    assert one.counts == two.counts


def test_the_parts_of_a_large_zip_make_up_the_whole(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scanned(export)
    monkeypatch.setattr(scan_tasks, "ZIP_PART_MEMBERS", 3)
    parts = scanned(export)
    assert parts.table.equals(whole.table)
    assert parts.counts == whole.counts


def test_only_slices_with_a_shared_uid_are_read_again(export: Path) -> None:
    result = scanned(export)
    assert result.counts["second_reads"] == 2
    content = {row["path"]: row["content_sha256"] for row in result.table.to_pylist()}
    assert content["ct/1.dcm"] == content["old/copy"] != ""
    assert content["ct/2.dcm"] == ""
    verified = scanned(export, verify_content=True)
    assert verified.counts["second_reads"] == 0
    assert all(row["content_sha256"] for row in verified.table.to_pylist())
    assert {row["path"]: row["content_sha256"] for row in verified.table.to_pylist()}["ct/1.dcm"] == content["old/copy"]


def test_members_with_a_shared_uid_are_found_in_their_archives_again(tmp_path: Path) -> None:
    same = part10(ct_slice(1))
    put(
        tmp_path,
        {"a.zip": as_zip({"x/1": same, "other": part10(ct_slice(2))}), "b.tar": as_tar({"y": same}), "c": same},
    )
    rows = scanned(tmp_path).table.to_pylist()
    digests = {row["member"]: row["content_sha256"] for row in rows}
    assert digests["x/1"] == digests["y"] == digests[""] != ""
    assert digests["other"] == ""


def test_findings_name_things_by_keyed_hashes_and_count(export: Path) -> None:
    found = {(one.code, one.object): one for one in scanned(export).findings}
    monaco = f"CT series {keyed_hash(SECRET, '2.25.77')}"
    cut = f"CT series {keyed_hash(SECRET, '2.25.55')}"
    assert set(found) == {
        ("FILE_NOT_DICOM", "input 0"),
        ("FILE_NO_PREAMBLE", monaco),
        ("FILE_NO_TRANSFER_SYNTAX", monaco),
        ("FILE_TRUNCATED", cut),
    }
    assert found["FILE_NOT_DICOM", "input 0"].measured == "2 files: 1 empty, 1 text"
    assert found["FILE_TRUNCATED", cut].measured == "119 of 128 bytes of PixelData in the file"


def test_one_series_is_one_finding(tmp_path: Path) -> None:
    put(tmp_path, {str(n): bare(ct_slice(n)) for n in range(20)})
    findings = scanned(tmp_path).findings
    assert codes(findings) == ["FILE_NO_PREAMBLE", "FILE_NO_TRANSFER_SYNTAX"]
    assert findings[0].measured == "20 objects: no DICM at byte 128"


def test_refused_members_are_an_error_with_their_number(tmp_path: Path) -> None:
    put(tmp_path, {"x.zip": as_zip({"../a": b"1", "../b": b"2", "/c": b"3", "ok": part10(ct_slice())})})
    result = scanned(tmp_path)
    (finding,) = result.findings
    assert (finding.code, finding.severity) == ("ARCHIVE_UNSAFE", Severity.ERROR)
    assert finding.object == f"archive {keyed_hash(SECRET, 'x.zip')}"
    assert finding.measured == "members refused: 1 absolute path, 2 path with `..`"
    assert result.table.num_rows == 1


def test_a_cut_archive_is_one_finding_and_keeps_its_first_members(tmp_path: Path) -> None:
    data = as_tar({str(n): part10(ct_slice(n)) for n in range(10)})
    put(tmp_path, {"x.tar": data[: len(data) // 2]})
    result = scanned(tmp_path)
    assert 3 <= result.table.num_rows <= 6
    archive = [one for one in result.findings if one.object.startswith("archive")]
    assert codes(archive) == ["FILE_TRUNCATED"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_finding(export: Path) -> None:
    (export / "rs").chmod(0)
    result = scanned(export)
    assert "PermissionError" in next(one.measured for one in result.findings if one.code == "FILE_TRUNCATED")


def test_a_file_that_vanishes_is_a_finding(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = list(scan_module.walk([export]))
    (export / "rs").unlink()
    monkeypatch.setattr(scan_module, "walk", lambda *a, **k: iter(listed))
    result = scanned(export)
    lost = [one for one in result.findings if one.object == f"file {keyed_hash(SECRET, 'rs')}"]
    assert [one.measured for one in lost] == ["cannot be opened: FileNotFoundError"]
    assert result.table.num_rows == 14


def test_storage_that_fails_is_transient(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(scan_tasks, "SourceFile", failing)
    with pytest.raises(TransientError, match="Input/output error"):
        scanned(export)


class _Killer:
    """Ends the process that unpickles it, as the kernel does for lack of memory."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (137,)


def test_a_worker_that_dies_is_transient() -> None:
    with pytest.raises(TransientError, match="fewer workers"), ScanPool(2) as pool:
        pool.run([_Killer()], lambda batch: None)  # type: ignore[list-item]


def test_an_interrupt_ends_the_workers(export: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan([export], workers=2, secret=SECRET, progress=interrupt)


def test_progress_reaches_the_number_of_files(export: Path) -> None:
    seen: list[tuple[int, int]] = []
    scan([export], workers=1, secret=SECRET, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert seen[0][1] == 13


def test_a_source_that_does_not_exist_is_told_before_anything_is_read(export: Path) -> None:
    with pytest.raises(UsageError, match="input 1 does not exist"):
        scanned(export, export / "absent")


def test_a_second_read_counts_no_archive_twice(tmp_path: Path) -> None:
    same = part10(ct_slice(1))
    result = scanned(put(tmp_path, {"a.zip": as_zip({"x": same, "y": same}), "b": same}))
    assert (result.counts["archives"], result.counts["members"], result.counts["second_reads"]) == (1, 2, 3)


def test_an_empty_export_has_an_empty_table(tmp_path: Path) -> None:
    result = scanned(tmp_path)
    assert result.table.num_rows == 0
    assert result.table.schema.equals(SCAN_SCHEMA)
    assert result.findings == []


def test_ignored_folders_are_left_out(export: Path) -> None:
    result = scan([export], workers=1, secret=SECRET, ignore=[export / "ct", export / "old"])
    assert {path.split("/")[0] for path in result.table["path"].to_pylist()} == {"rs", "rd.dcm", "more.zip", "more.tar"}


def test_tasks_are_bounded_by_files_and_bytes(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "CHUNK_BYTES", 2500)
    tasks: list[ScanTask] = list(scan_module._tasks((export,), scan_module.walk([export]), False))
    sizes = [sum(entry.size for entry in task.entries) for task in tasks]
    assert sorted(entry.path for task in tasks for entry in task.entries) == sorted(
        entry.path for entry in scan_module.walk([export])
    )
    assert all(size <= 2500 or len(task.entries) == 1 for size, task in zip(sizes, tasks, strict=True))
    assert sizes[0] == max(sizes)

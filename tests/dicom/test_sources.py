"""The listing is complete, ordered, and made without opening a file."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from rtpipeline.dicom.sources import Walk, listing, listing_digest, locate, stored_name, walk
from rtpipeline.errors import TransientError
from tests.dicom.dicom_files import put


def paths(*sources: Path) -> list[tuple[int, str]]:
    return [(entry.source, entry.path) for entry in walk(sources)]


def test_files_come_by_source_and_path_whatever_the_order_of_creation(tmp_path: Path) -> None:
    one = put(tmp_path / "one", {"b/2": b"", "a": b"x", "b/10": b"", "B": b""})
    two = put(tmp_path / "two", {"a": b""})
    assert paths(one, two) == [(0, "B"), (0, "a"), (0, "b/10"), (0, "b/2"), (1, "a")]


def test_a_single_file_is_a_source(tmp_path: Path) -> None:
    file = put(tmp_path, {"export.zip": b"PK"}) / "export.zip"
    (entry,) = walk([file])
    assert (entry.path, entry.size) == ("export.zip", 2)
    assert locate(file, entry.path) == file


def test_ignored_and_system_folders_are_not_entered(tmp_path: Path) -> None:
    put(tmp_path, {"a": b"", "out/result": b"", ".snapshot/hourly/a": b"", "@eaDir/a": b""})
    met = Walk()
    found = [entry.path for entry in walk([tmp_path], ignore=[tmp_path / "out"], met=met)]
    assert found == ["a"]
    assert met.system_folders == {0: 2}


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    put(tmp_path, {"a/file": b""})
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert paths(tmp_path) == [(0, "a/file")]


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_a_name_that_is_no_text_is_stored_and_found_again(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/M\xfcller.dcm"
    try:
        Path(os.fsdecode(raw)).write_bytes(b"x")
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    (entry,) = walk([tmp_path])
    assert entry.path == "M\\udcfcller.dcm"
    assert entry.path.encode("utf-8")
    assert locate(tmp_path, entry.path).read_bytes() == b"x"
    assert stored_name("plain ü") == "plain ü"


def test_the_digest_follows_paths_sizes_and_times_only(tmp_path: Path) -> None:
    put(tmp_path, {"a": b"12345", "b/c": b""})
    os.utime(tmp_path / "a", ns=(10, 10))
    before = listing_digest([tmp_path])
    assert len(before) >= 12
    (tmp_path / "a").write_bytes(b"54321")
    os.utime(tmp_path / "a", ns=(10, 10))
    assert listing_digest([tmp_path]) == before
    os.utime(tmp_path / "a", ns=(10, 11))
    assert listing_digest([tmp_path]) != before


def test_a_moved_source_keeps_its_digest(tmp_path: Path) -> None:
    put(tmp_path / "here", {"a": b"1", "b/c": b""})
    before = listing_digest([tmp_path / "here"])
    (tmp_path / "here").rename(tmp_path / "there")
    assert listing_digest([tmp_path / "there"]) == before
    (tmp_path / "there" / "b" / "c").rename(tmp_path / "there" / "b" / "d")
    assert listing_digest([tmp_path / "there"]) != before


def test_the_listing_ignores_what_the_scan_ignores(tmp_path: Path) -> None:
    put(tmp_path, {"a": b"1"})
    before = listing_digest([tmp_path], ignore=[tmp_path / "out"])
    put(tmp_path, {"out/table": b"1"})
    assert listing_digest([tmp_path], ignore=[tmp_path / "out"]) == before
    assert [row[1] for row in listing([tmp_path])] == ["a", "out/table"]


def test_a_link_to_itself_is_told_and_costs_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, {"file": b""})
    (tmp_path / "again").symlink_to("again")
    met = Walk()
    assert [entry.path for entry in walk([tmp_path], met=met)] == ["file"]
    assert met.unreadable == [(0, "again", "ELOOP")]


@pytest.mark.parametrize(("depth", "told"), [(1200, []), (2300, ["ENAMETOOLONG"])])
def test_folders_deeper_than_calls_or_path_names_allow_are_walked_or_told(
    depth: int, told: list[str], tmp_path: Path
) -> None:
    put(tmp_path, {"z": b""})
    above = os.open(tmp_path, os.O_RDONLY)
    opened = [above]
    for _ in range(depth):
        os.mkdir("d", dir_fd=above)
        above = os.open("d", os.O_RDONLY, dir_fd=above)
        opened.append(above)
        os.close(opened.pop(0))
    os.close(opened.pop())
    met = Walk()
    assert [entry.path for entry in walk([tmp_path], met=met)] == ["z"]
    assert [error for _, _, error in met.unreadable] == told
    # Python's rmtree, which clears old folders of tests, cannot go that deep either
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_storage_that_fails_is_tried_again_and_never_counts_as_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, {"patient/a": b""})

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(TransientError) as told:
        list(walk([tmp_path]))
    assert str(tmp_path) not in str(told.value)

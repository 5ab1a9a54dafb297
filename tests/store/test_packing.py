"""Outputs as objects: back bit for bit, the same bytes every time, and never the parts of two for one."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtpipeline.errors import TransientError, UsageError
from rtpipeline.store.keys import output_digest
from rtpipeline.store.packing import OBJECTS, is_packed, pack, unpack, unpack_tables

FILES = {
    "metrics.parquet": b"PAR1" + bytes(range(256)),
    "plans.json": b"[]",
    "course.html": b"<p>",
    "images/ct-01/image.nii.gz": os.urandom(70_000),
    "images/ct-01/geometry.json": b"{}",
    "deep/er/table.parquet": b"PAR1",
    "stage.log": b"line\n",
    "empty.bin": b"",
}


def output(folder: Path, files: dict[str, bytes] = FILES, **record: object) -> Path:
    """A complete output folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    folder.mkdir(exist_ok=True)
    (folder / "stage.json").write_text(json.dumps({"status": "done", "output_digest": output_digest(folder)} | record))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_comes_back_bit_for_bit(tmp_path):
    folder = output(tmp_path / "out")
    (folder / "empty" / "folder").mkdir(parents=True)
    pack(folder, tmp_path / "packed")
    assert sorted(p.name for p in (tmp_path / "packed").iterdir()) == sorted(OBJECTS)
    unpack(tmp_path / "packed", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(folder)
    assert output_digest(tmp_path / "back") == output_digest(folder)
    assert (tmp_path / "back" / "empty" / "folder").is_dir()
    assert {p.name for p in tmp_path.iterdir()} == {"out", "packed", "back"}


NAME = st.text("ab.é -\u202e", min_size=1, max_size=8).filter(lambda n: n.strip(". ") and n != "stage.json")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(NAME, st.binary(max_size=2000), max_size=6), depth=st.integers(0, 150))
def test_any_names_and_contents_come_back(files, depth, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("any")
    long = {f"{'d' * depth}/{name}" if depth else name: content for name, content in files.items()}
    folder = output(tmp_path / "out", long)
    pack(folder, tmp_path / "packed")
    unpack(tmp_path / "packed", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(folder)


def test_the_tables_alone_are_what_lies_at_the_top(tmp_path):
    folder = output(tmp_path / "out")
    pack(folder, tmp_path / "packed")
    unpack_tables(tmp_path / "packed", tmp_path / "tables")
    assert set(contents(tmp_path / "tables")) == {"metrics.parquet", "plans.json", "course.html", "stage.json"}


def test_same_output_same_bytes_whatever_the_times_owners_and_order(tmp_path):
    first = output(tmp_path / "first")
    second = output(tmp_path / "second", dict(reversed(FILES.items())))
    for path in second.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    for folder in (first, second):
        pack(folder, tmp_path / f"{folder.name}-packed")
    assert contents(tmp_path / "first-packed") == contents(tmp_path / "second-packed")


@pytest.mark.parametrize("mixed", ["data.tgz", "tables.tgz", "stage.json"])
def test_parts_of_two_outputs_are_none(mixed, tmp_path):
    """Objects are replaced one after the other; whoever reads in between gets the new data with the old record."""
    old = output(tmp_path / "old")
    new = output(tmp_path / "new", FILES | {"metrics.parquet": b"PAR1 new", "images/ct-01/geometry.json": b"{1}"})
    pack(old, tmp_path / "old-packed")
    pack(new, tmp_path / "new-packed")
    (tmp_path / "new-packed" / mixed).replace(tmp_path / "old-packed" / mixed)
    with pytest.raises(TransientError):
        unpack(tmp_path / "old-packed", tmp_path / "back")
    if mixed != "data.tgz":
        with pytest.raises(TransientError):
            unpack_tables(tmp_path / "old-packed", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_record_that_tells_of_other_files_is_noticed_by_their_content(tmp_path):
    folder = output(tmp_path / "out", output_digest="0" * 64)
    pack(folder, tmp_path / "packed")
    with pytest.raises(TransientError, match="not the output"):
        unpack(tmp_path / "packed", tmp_path / "back")


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("keep", [None, 0, 30, 2000])
def test_what_is_missing_or_cut_is_transient(name, keep, tmp_path):
    pack(output(tmp_path / "out"), tmp_path / "packed")
    victim = tmp_path / "packed" / name
    content = victim.read_bytes()
    if keep is None:
        victim.unlink()
        assert not is_packed(tmp_path / "packed")
    elif keep >= len(content):
        pytest.skip("nothing is cut")
    else:
        victim.write_bytes(content[:keep])
    with pytest.raises(TransientError):
        unpack(tmp_path / "packed", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def member(kind: bytes = tarfile.REGTYPE, name: str = "x", target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "unsafe",
    [
        member(name="/tmp/x"),
        member(name="../x"),
        member(name="a/../../x"),
        member(name=".."),
        member(tarfile.SYMTYPE, target="/etc/passwd"),
        member(tarfile.LNKTYPE, target=".output_digest"),
        member(tarfile.FIFOTYPE),
        member(tarfile.CHRTYPE),
        member(name="stage.json"),
    ],
    ids=lambda info: f"{info.type!r} {info.name}",
)
def test_a_member_that_would_not_stay_inside_is_refused(unsafe, tmp_path):
    pack(output(tmp_path / "out"), tmp_path / "packed")
    digest = json.loads((tmp_path / "packed" / "stage.json").read_text())["output_digest"]
    with tarfile.open(tmp_path / "packed" / "tables.tgz", "w:gz") as archive:
        mark = member(name=".output_digest")
        mark.size = len(digest)
        archive.addfile(mark, io.BytesIO(digest.encode()))
        archive.addfile(unsafe)
    with pytest.raises(UsageError):
        unpack(tmp_path / "packed", tmp_path / "deep" / "back")
    assert not list(tmp_path.rglob("x"))
    assert not (tmp_path / "deep" / "back").exists()


def test_links_are_not_packed_and_neither_is_half_an_output(tmp_path):
    folder = output(tmp_path / "out")
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="link is neither"):
        pack(folder, tmp_path / "packed")
    (tmp_path / "half").mkdir()
    with pytest.raises(UsageError, match=r"stage\.json"):
        pack(tmp_path / "half", tmp_path / "packed")
    assert {p.name for p in tmp_path.iterdir()} == {"out", "half"}


def test_the_archives_can_be_opened_by_anybody(tmp_path):
    pack(output(tmp_path / "out"), tmp_path / "packed")
    with tarfile.open(tmp_path / "packed" / "tables.tgz") as archive:
        names = archive.getnames()
    assert names == [".output_digest", "course.html", "metrics.parquet", "plans.json"]

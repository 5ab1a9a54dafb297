"""Archives of every kind give their members, and nothing unsafe."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rtpipeline.dicom import archives
from rtpipeline.dicom.archives import ArchiveReadError, Refusals, Selection, sniff
from rtpipeline.dicom.objects import SourceFile
from tests.dicom.dicom_files import ct_slice, part10

FILES = {"a.txt": b"first", "sub/b.dcm": part10(ct_slice()), "sub/c": b"third" * 1000}


def as_zip(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def as_tar(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def contents(path: Path, **options: object) -> tuple[dict[str, bytes], Refusals]:
    refusals = Refusals()
    with SourceFile(path) as file:
        found = {name: b"".join(w.stream(0)) for name, w in file.objects(refusals=refusals, **options)}  # type: ignore[arg-type]
    return found, refusals


def read(tmp_path: Path, data: bytes, name: str = "export", **options: object) -> tuple[dict[str, bytes], Refusals]:
    path = tmp_path / name
    path.write_bytes(data)
    return contents(path, **options)


@pytest.mark.parametrize(
    "pack",
    [
        as_zip,
        lambda files: as_zip(files, zipfile.ZIP_STORED),
        lambda files: as_zip(files, zipfile.ZIP_LZMA),
        as_tar,
        lambda files: as_tar(files, tarfile.USTAR_FORMAT),
        lambda files: as_tar(files, tarfile.GNU_FORMAT),
        lambda files: gzip.compress(as_tar(files)),
        lambda files: bz2.compress(as_tar(files)),
        lambda files: lzma.compress(as_tar(files)),
    ],
)
def test_an_archive_is_known_by_its_content(pack: Callable[[dict[str, bytes]], bytes], tmp_path: Path) -> None:
    found, refusals = read(tmp_path, pack(FILES))
    assert found == FILES
    assert refusals == Refusals()


@pytest.mark.parametrize(
    ("name", "member"), [("d.dcm.xz", "d.dcm"), ("d.DCM.GZ", "d.DCM"), ("d", "d"), (".xz", ".xz"), ("d.bz2", "d")]
)
def test_a_file_compressed_by_itself_has_the_name_without_the_ending(name: str, member: str, tmp_path: Path) -> None:
    for compress in (lzma.compress, gzip.compress, bz2.compress):
        found, _ = read(tmp_path, compress(b"content" * 100), name)
        assert found == {member: b"content" * 100}


def test_archives_inside_archives_are_entered(tmp_path: Path) -> None:
    inner = {
        "in.zip": as_zip({"x": b"1"}),
        "in.tar.xz": lzma.compress(as_tar({"y/z": b"2"})),
        "w.gz": gzip.compress(b"3"),
    }
    for outer in (as_zip(inner), lzma.compress(as_tar(inner))):
        found, refusals = read(tmp_path, outer)
        assert found == {"in.zip!/x": b"1", "in.tar.xz!/y/z": b"2", "w.gz!/w": b"3"}
        assert not refusals.refused


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    data = as_zip({"x": b"1"})
    for _ in range(6):
        data = as_zip({"in": data})
    found, refusals = read(tmp_path, data)
    assert found == {}
    assert refusals.refused == {"nested deeper than 4 archives": 1}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "path with `..`"),
        ("a/../../evil", "path with `..`"),
        ("..\\evil", "path with `..`"),
        ("/etc/evil", "absolute path"),
        ("C:\\evil", "absolute path"),
    ],
)
def test_paths_that_leave_the_archive_are_refused(name: str, reason: str, tmp_path: Path) -> None:
    for pack in (as_zip, as_tar):
        found, refusals = read(tmp_path, pack({name: b"evil", "good": b"1"}))
        assert found == {"good": b"1"}
        assert refusals.refused == {reason: 1}


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"member{kind!r}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert read(tmp_path, buffer.getvalue())[1].refused == {"link": 2, "device or other special file": 1}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive_zip:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive_zip.writestr(link, "/etc/passwd")
    assert read(tmp_path, buffer.getvalue())[1].refused == {"link": 1}


def test_encrypted_members_are_refused_and_the_others_read(tmp_path: Path) -> None:
    data = bytearray(as_zip({"secret": b"x" * 50, "open": b"y"}))
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(magic) + offset] |= 1
    found, refusals = read(tmp_path, bytes(data))
    assert found == {"open": b"y"}
    assert refusals.refused == {"encrypted": 1}


def test_a_name_that_occurs_again_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for data in (b"1", b"2"):
            info = tarfile.TarInfo("twice")
            info.size = 1
            archive.addfile(info, io.BytesIO(data))
    found, refusals = read(tmp_path, buffer.getvalue())
    assert found == {"twice": b"1"}
    assert refusals.refused == {"name that an earlier member has": 1}


def test_names_that_are_no_utf8_are_read_and_counted(tmp_path: Path) -> None:
    data = as_tar({"M?ller": b"1"}, tarfile.USTAR_FORMAT)
    head = bytearray(data[:512])
    head[1] = 0xFC
    total = sum(head[:148]) + 8 * 32 + sum(head[156:])
    head[148:156] = b"%06o\0 " % total
    found, refusals = read(tmp_path, bytes(head) + data[512:])
    assert found == {"M\\udcfcller": b"1"}
    assert refusals.renamed == 1
    assert Selection(found)("M\\udcfcller")
    old = as_zip({"Mueller": b"1"}).replace(b"Mueller", b"M\x81eller")
    found, refusals = read(tmp_path, old)
    assert found == {"Müeller": b"1"}
    assert refusals.renamed == 1


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_stops_at_the_limit(
    compress: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 5_000_000)
    monkeypatch.setattr(archives, "MAX_RATIO", 50)
    path = tmp_path / "bomb"
    path.write_bytes(compress(as_tar({"first": bytes(3_000_000), "bomb": bytes(50_000_000)})))
    taken, unpacked = [], 0
    with SourceFile(path) as file, pytest.raises(archives.BombError):
        for name, window in file.objects(refusals=Refusals()):
            taken.append(name)
            unpacked += sum(len(part) for part in window.stream(0))
    assert taken[0] == "first"
    assert unpacked <= 5_000_000


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_tar_header_that_holds_more_than_a_name_is_a_bomb(kind: bytes, tmp_path: Path) -> None:
    """tarfile reads such a header whole, before any limit for members can count."""
    info = tarfile.TarInfo("x")
    info.size, info.type = 2 * 1024**2, kind
    path = tmp_path / "names.tar.gz"
    path.write_bytes(
        gzip.compress(as_tar({"first": b"1"})[:1024] + info.tobuf(tarfile.USTAR_FORMAT) + bytes(info.size))
    )
    taken = []
    with SourceFile(path) as file, pytest.raises(archives.BombError, match="a name of 2097152 bytes"):
        for name, _ in file.objects(refusals=Refusals()):
            taken.append(name)
    assert taken == ["first"]


def test_a_zip_member_with_an_absurd_ratio_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 100_000)
    monkeypatch.setattr(archives, "MAX_RATIO", 50)
    found, refusals = read(tmp_path, as_zip({"bomb": bytes(20_000_000), "good": b"1"}))
    assert found == {"good": b"1"}
    assert refusals.refused == {"more than 50 times its packed size": 1}


def test_a_zip_member_of_a_method_that_unpacks_without_limit_is_refused(tmp_path: Path) -> None:
    """zipfile asks bzip2 for all that 4 kB hold: 45 MB for each 40 bytes of zeros, whatever size is stated."""
    found, refusals = read(tmp_path, as_zip({"bomb": bytes(1000)}, zipfile.ZIP_BZIP2))
    assert found == {}
    assert refusals.refused == {"compression method 12": 1}


def test_an_empty_phantom_is_no_bomb(tmp_path: Path) -> None:
    """503 slices of water compress 5,000-fold in a public set: ratios count above 1 GiB only."""
    data = lzma.compress(as_tar({"slice": bytes(50_000_000)}))
    assert len(data) * 1000 < 50_000_000
    assert len(read(tmp_path, data)[0]["slice"]) == 50_000_000


@pytest.mark.parametrize("name", ["[Content_Types].xml", "mimetype"])
def test_office_documents_are_no_archives(name: str, tmp_path: Path) -> None:
    data = as_zip({name: b"<Types/>", "x": b""})
    assert sniff(data) == ""
    assert list(read(tmp_path, data)[0]) == [""]


def test_a_kind_that_is_not_read_is_told(tmp_path: Path) -> None:
    seven = b"7z\xbc\xaf\x27\x1c" + bytes(100)
    assert read(tmp_path, seven)[1].refused == {"7z archive, a kind that is not read": 1}
    assert read(tmp_path, as_zip({"in.7z": seven}))[1].refused == {"7z archive, a kind that is not read": 1}


def test_a_dicom_file_with_an_archive_in_its_preamble_is_a_dicom_file() -> None:
    assert sniff(b"PK\3\4" + bytes(124) + b"DICM") == ""


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_a_cut_archive_gives_its_first_members_and_an_error(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    files = {f"m{i}": bytes(range(256)) * (40 + i) for i in range(30)}
    data = compress(as_tar(files))
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) * 6 // 10])
    found = {}
    with SourceFile(path) as file, pytest.raises(ArchiveReadError):
        for name, window in file.objects(refusals=Refusals()):
            found[name] = b"".join(window.stream(0))
    assert all(files[name] == data for name, data in found.items())
    assert compress is not bytes or len(found) > 10


def test_one_broken_member_does_not_cost_the_others(tmp_path: Path) -> None:
    data = bytearray(as_zip({"bad": bytes(range(256)) * 20, "good": b"1"}))
    start = data.index(b"bad") + 3
    data[start : start + 20] = b"\xff" * 20
    found, refusals = read(tmp_path, bytes(data))
    assert found == {"good": b"1"}
    assert refusals.refused == {"member that cannot be read (error)": 1}


def test_a_selection_opens_only_what_it_names(tmp_path: Path) -> None:
    inner = {"in.zip": as_zip({"x": b"1", "y": b"2"}), "other.zip": as_zip({"x": b"3"}), "z": b"4"}
    for outer in (as_zip(inner), gzip.compress(as_tar(inner))):
        found, _ = read(tmp_path, outer, select=Selection(["in.zip!/y", "z"]))
        assert found == {"in.zip!/y": b"2", "z": b"4"}


def test_parts_of_a_zip_make_up_the_whole(tmp_path: Path) -> None:
    data = as_zip({f"m{i}": b"%d" % i for i in range(10)})
    parts = [read(tmp_path, data, part=slice(start, start + 4))[0] for start in (0, 4, 8)]
    assert [len(part) for part in parts] == [4, 4, 2]
    assert parts[0] | parts[1] | parts[2] == read(tmp_path, data)[0]


def test_a_member_that_states_more_bytes_than_there_are_is_an_error(tmp_path: Path) -> None:
    data = bytearray(as_tar({"liar": b"1"}))
    data[124:136] = b"00077777777\0"
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
    with pytest.raises(ArchiveReadError, match="ReadError"):
        read(tmp_path, bytes(data))

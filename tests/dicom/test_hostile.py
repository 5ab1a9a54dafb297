"""Damaged and hostile bytes give findings, never a traceback."""

from __future__ import annotations

import struct
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from rtpipeline.contracts.index import SCAN_SCHEMA
from rtpipeline.dicom import pixels
from rtpipeline.dicom.content import read_content
from rtpipeline.dicom.dose_pixels import DosePixelError, stored_values
from rtpipeline.dicom.encoding import DamagedError, NoObjectError
from rtpipeline.dicom.header import read_header
from rtpipeline.dicom.open import dataset_of
from rtpipeline.dicom.scan_tasks import record_batch
from rtpipeline.dicom.window import Window
from rtpipeline.errors import DataError
from rtpipeline.execution.environment import process_environment
from tests.dicom.dicom_files import bare, ct_slice, dose, part10, put, structure_set


@cache
def originals() -> list[bytes]:
    return [
        part10(ct_slice()),
        part10(ct_slice(), RLELossless),
        part10(structure_set(), ImplicitVRLittleEndian),
        part10(dose(), ExplicitVRBigEndian),
        part10(dose(), DeflatedExplicitVRLittleEndian),
        bare(dose()),
    ]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """One of the originals, cut, and with some bytes changed."""
    data = bytearray(draw(st.sampled_from(originals())))
    for _ in range(draw(st.integers(0, 8))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.sampled_from([0, 1, 0x5C, 0x7F, 0xFE, 0xFF]))
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


@given(data=damaged())
@settings(max_examples=400, deadline=None)
def test_damaged_objects_become_rows_or_problems(data: bytes) -> None:
    header = read_header(Window.of_bytes(data), with_content=True)
    if header.row is None:
        assert header.not_dicom or header.problems
    else:
        # what is read fits the columns of the index, whatever it is
        row = {**header.row, "source": 0, "path": "x", "member": "", "mtime_ns": 0}
        assert record_batch([row]).schema == SCAN_SCHEMA


@given(data=damaged())
@settings(max_examples=150, deadline=None)
def test_damaged_objects_are_compared_or_refused(data: bytes) -> None:
    try:
        content = read_content(Window.of_bytes(data))
    except (NoObjectError, DamagedError):
        return
    assert len(content.essential) == 64


@given(data=damaged())
@settings(max_examples=200, deadline=None)
def test_pydicom_gives_a_data_set_or_a_data_error(data: bytes) -> None:
    row = {"kind": "image", "modality": "CT", "transfer_syntax_uid": "1.2.840.10008.1.2"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            dataset_of(data, row)
        except DataError as error:
            assert [one.code for one in error.findings] == ["FILE_TRUNCATED"]


@given(data=st.binary(max_size=400), preamble=st.booleans())
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_refused(data: bytes, preamble: bool) -> None:
    header = read_header(Window.of_bytes(bytes(128) + b"DICM" + data if preamble else data))
    assert header.row is None or header.row["has_preamble"]


@pytest.mark.parametrize(("codec", "name"), [("unicode_escape", rb"\ud800"), ("raw_unicode_escape", rb"\ud800")])
def test_a_codec_that_makes_half_characters_does_not_stop_the_index(codec: str, name: bytes) -> None:
    ds = ct_slice()
    ds.PatientName = "x" * 12
    ds.SpecificCharacterSet = codec
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = part10(ds)
    assert data.count(b"x" * 12) == 1
    header = read_header(Window.of_bytes(data.replace(b"x" * 12, (name + b"\xe4").ljust(12, b"x"))))
    assert header.row is not None
    row = {**header.row, "source": 0, "path": "x", "member": "", "mtime_ns": 0}
    assert record_batch([row]).num_rows == 1
    assert "TEXT_CHARSET" in [problem.code for problem in header.problems]


@pytest.mark.parametrize("extra", [0, 1, 2, 27])
def test_an_rle_segment_longer_than_its_frame_is_no_panic(extra: int) -> None:
    """pylibjpeg-rle panics in Rust there: a BaseException, which no `except Exception` stops."""
    ds = dose(frames=1)
    segment = bytes([19 + extra, *range(20 + extra), 0x80] + [0x80] * (extra % 2))
    header = struct.pack("<16L", 4, *(64 + n * len(segment) for n in range(4)), *[0] * 11)
    ds.PixelData = encapsulate([header + segment * 4])
    ds["PixelData"].is_undefined_length, ds["PixelData"].VR = True, "OB"
    native = part10(dose(frames=1))
    meta = native[: native.index(b"\x08\0\x16\0UI")].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    data = meta + bare(ds, ExplicitVRLittleEndian)
    row = read_header(Window.of_bytes(data), with_content=True).row
    assert row is not None
    assert row["transfer_syntax_uid"] == RLELossless
    assert row["pixel_bytes_ok"] and row["content_sha256"]


def test_a_transfer_syntax_that_is_none_is_not_repeated() -> None:
    data = part10(ct_slice()).replace(b"1.2.840.10008.1.2.1\0", b"Anna Example 19520113"[:20])
    (problem,) = [p for p in read_header(Window.of_bytes(data)).problems if p.code == "FILE_COMPRESSED"]
    assert problem.measured == "transfer syntax that is none of the standard"


def test_a_frame_of_gigabytes_in_a_few_compressed_bytes_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = part10(ct_slice(), RLELossless)
    for element in (b"\x28\0\x10\0US\x02\0", b"\x28\0\x11\0US\x02\0"):  # Rows and Columns
        at = data.index(element) + len(element)
        data = data[:at] + b"\xff\xff" + data[at + 2 :]
    asked = []
    monkeypatch.setattr(pixels, "get_decoder", asked.append)
    row = read_header(Window.of_bytes(data), with_content=True).row
    assert row is not None
    assert row["content_sha256"]
    assert not asked
    ds = dataset_of(data, row)
    monkeypatch.setattr(type(ds), "pixel_array", property(asked.append))
    with pytest.raises(DosePixelError, match="65535 x 65535"):
        stored_values(ds)
    assert not asked


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFE])
def test_a_length_of_gigabytes_costs_no_memory(length: int) -> None:
    lie = b"\x08\0\x16\0" + length.to_bytes(4, "little") + b"1.2.840"
    header = read_header(Window.of_bytes(bytes(128) + b"DICM" + lie))
    assert header.row is None
    assert header.problems[0].measured == f"ends inside (0008,0016), which needs {140 + length} bytes of 147"


def test_no_warning_reaches_the_terminal(tmp_path: Path) -> None:
    """pydicom quotes values in its warnings: a name in a log is a leak. In a process of its own, as users run it."""
    ds = ct_slice()
    ds.add_new(0x0020000D, "UI", "2.25." + "1" * 70)
    ds.add_new(0x00080005, "CS", "NO_SUCH_SET")
    ds.PatientName = "Jos"
    data = part10(ds).replace(b"20240102", b"2024xxxx").replace(b"Jos ", b"Jos\xe9")
    put(tmp_path, {"a": data, "b": data[:-60], "c": part10(ct_slice(), RLELossless)[:-40]})
    script = """
import logging, pathlib, sys
logging.basicConfig(level=logging.INFO)
from rtpipeline.dicom.open import open_many
from rtpipeline.dicom.scan import scan
folder = pathlib.Path(sys.argv[1])
result = scan([folder], workers=1, secret=b"s", verify_content=True)
seen = [str(e) for _, ds in open_many(result.table.to_pylist(), [folder]) for e in ds.iterall()]
assert result.table.num_rows == 3 and any("Jos" in text for text in seen)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=process_environment(1))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

"""What several tests of reading exports read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dicom.dicom_files import bare, ct_slice, dose, part10, put, structure_set
from tests.dicom.test_archives import as_tar, as_zip


@pytest.fixture
def export(tmp_path: Path) -> Path:
    files = {f"ct/{n}.dcm": part10(ct_slice(n)) for n in range(1, 6)}
    files |= {"rs": part10(structure_set()), "rd.dcm": part10(dose()), "notes.txt": b"hello", "empty": b""}
    files |= {"old/monaco.dcm": bare(ct_slice(9, series="2.25.77")), "old/copy": part10(ct_slice(1))}
    files["more.zip"] = as_zip({f"m{n}": part10(ct_slice(n, series="2.25.66")) for n in range(4)})
    files["more.tar"] = as_tar({"rd2": part10(dose("2.25.5.2")), "cut": part10(ct_slice(1, series="2.25.55"))[:-9]})
    return put(tmp_path / "export", files)

"""A demo cohort made once for the tests that read it."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from rtpipeline.demo import make_cohort

SEED = 7


@dataclass(frozen=True)
class Cohort:
    folder: Path
    truth: dict[str, Any]
    read: dict[str, list[pydicom.Dataset]] = field(default_factory=dict)

    def contents(self, patient_id: str) -> dict[str, bytes]:
        """Bytes by name of every file of a patient, from the folder or the archive."""
        path = self.folder / self.truth["patients"][patient_id]["path"]
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                return {name: archive.read(name) for name in archive.namelist()}
        return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}

    def datasets(self, patient_id: str, modality: str) -> list[pydicom.Dataset]:
        """A patient's objects of one modality in the order of their file names; read once, so not to be changed."""
        if patient_id not in self.read:
            self.read[patient_id] = [pydicom.dcmread(BytesIO(c)) for c in self.contents(patient_id).values()]
        return [ds for ds in self.read[patient_id] if ds.Modality == modality]


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("demo")
    return Cohort(folder, make_cohort(folder, patients=6, seed=SEED))

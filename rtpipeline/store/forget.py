"""Removing a withdrawn patient from a cohort: outputs, index, registry, plans, logs and tables.

Of a store in a bucket, `bucket_forget.py` fetches what is small, has it changed here, and sends it back.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rtpipeline.contracts.manifests import CohortManifest, StageRecord
from rtpipeline.errors import UsageError
from rtpipeline.store.folder import CohortFolder, write_atomically
from rtpipeline.store.keys import output_digest

ISSUER_MARK = "^^^"
"""Between PatientID and issuer in a patient key."""


def find_patient(folder: CohortFolder, given: str) -> list[str]:
    """Pseudonyms of the patients with this pseudonym or original PatientID.

    Raises
    ------
    UsageError: there is none.
    """
    found: set[str] = set()
    path = folder.private / "identity.parquet"
    if path.is_file():
        table = pd.read_parquet(path, columns=["patient_id", "patient_key"]).drop_duplicates()
        bare = table["patient_key"].str.split(ISSUER_MARK, regex=False).str[0]
        matches = (table["patient_id"] == given) | (table["patient_key"] == given) | (bare == given)
        found.update(table["patient_id"][matches])
    registry = folder.private / "registry.json"
    if registry.is_file() and given in json.loads(registry.read_bytes())["patients"]:
        found.add(given)
    if not found:
        raise UsageError(
            f"no patient of cohort {folder.cohort} has this id; give the pseudonym of the tables or the PatientID "
            "(the pseudonym alone of a patient that the last export did not have)."
        )
    return sorted(found)


@dataclass(frozen=True)
class Originals:
    """What the export calls some patients."""

    keys: frozenset[str]
    """PatientID, with issuer where one is stated; empty for patients that the last export had no object of"""
    uids: frozenset[str]

    @property
    def ids(self) -> frozenset[str]:
        """PatientIDs, with issuer and without."""
        return self.keys | {key.partition(ISSUER_MARK)[0] for key in self.keys}


def originals(folder: CohortFolder, patients: Sequence[str]) -> Originals:
    """The ids of these patients in the export, as far as `private/` still knows them."""
    path = folder.private / "identity.parquet"
    if not path.is_file():
        return Originals(frozenset(), frozenset())
    table = pd.read_parquet(path, columns=["patient_id", "patient_key", "original_uid"])
    theirs = table[table["patient_id"].isin(list(patients))]
    return Originals(frozenset(theirs["patient_key"]) - {""}, frozenset(theirs["original_uid"]) - {""})


def courses_of(folder: CohortFolder, patients: Sequence[str]) -> list[str]:
    """Course folders of these patients."""
    return courses_among((p.name for p in (folder.root / "courses").glob("*") if p.is_dir()), patients)


def courses_among(names: Iterable[str], patients: Sequence[str]) -> list[str]:
    """Those of some course ids that are of these patients, sorted."""
    return sorted(name for name in names if _patient_of(name) in patients)


def _patient_of(course_id: str | None) -> str:
    return (course_id or "").rpartition("-c")[0]


def forget(folder: CohortFolder, patients: Sequence[str]) -> None:
    """Remove these patients from everything but `results/`. The export itself is not touched."""
    courses = courses_of(folder, patients)
    for course in courses:
        shutil.rmtree(folder.root / "courses" / course)
    keys = originals(folder, patients).keys
    for name in ("identity.parquet", "index.parquet"):
        _without_rows(folder.private / name, patients, keys)
    registry = folder.private / "registry.json"
    if registry.is_file():
        content = json.loads(registry.read_bytes())
        content["patients"] = {p: entry for p, entry in content["patients"].items() if p not in patients}
        write_atomically(registry, (json.dumps(content, indent=1) + "\n").encode())
    for output in sorted((folder.root / "organize").glob("*")):
        if (output / "courses.json").is_file():
            _forget_in_organize(output, patients)
        elif output.is_dir() and _is_named(output / "stage.json", patients):
            shutil.rmtree(output)  # it gave nothing but findings
    for run in sorted((folder.root / "runs").glob("*")):
        _forget_in_run(run, patients)


def _is_named(path: Path, patients: Sequence[str]) -> bool:
    return path.is_file() and any(patient.encode() in path.read_bytes() for patient in patients)


def _without_rows(path: Path, patients: Sequence[str], keys: Iterable[str] = ()) -> None:
    """Rewrite a table without the rows of these patients, also those that could be placed with no patient."""
    if not path.is_file():
        return
    table = pq.read_table(path)
    mask = pc.is_in(table["patient_id"], value_set=_strings(patients))
    if "patient_key" in table.column_names:
        unplaced = pc.equal(table["patient_id"], "")
        mask = pc.or_(mask, pc.and_(unplaced, pc.is_in(table["patient_key"], value_set=_strings(sorted(keys)))))
    sink = BytesIO()
    pq.write_table(table.filter(pc.invert(mask)), sink, row_group_size=20_000, compression="zstd")
    write_atomically(path, sink.getvalue())


def _strings(values: Sequence[str]) -> object:
    import pyarrow as pa

    return pa.array(list(values), pa.string())


def _forget_in_organize(output: Path, patients: Sequence[str]) -> None:
    manifest = CohortManifest.load(output)
    manifest.patients = [p for p in manifest.patients if p.patient_id not in patients]
    manifest.courses = [c for c in manifest.courses if c.patient_id not in patients]
    manifest.counts |= {"patients": len(manifest.patients), "courses": len(manifest.courses)}
    manifest.save(output)
    _without_rows(output / "findings.parquet", patients)
    record = StageRecord.load(output)
    if record is not None:
        findings = [f for f in record.findings if f.get("patient_id") not in patients]
        changed = record.model_copy(update={"findings": findings, "output_digest": output_digest(output)})
        write_atomically(output / "stage.json", (changed.model_dump_json(indent=1) + "\n").encode())


def _forget_in_run(run: Path, patients: Sequence[str]) -> None:
    def is_theirs(course_id: str | None) -> bool:
        return _patient_of(course_id) in patients

    plan, ledger = run / "plan.json", run / "ledger.jsonl"
    if plan.is_file():
        content = json.loads(plan.read_bytes())
        content["courses"] = [c for c in content["courses"] if not is_theirs(c["course_id"])]
        write_atomically(plan, (json.dumps(content, indent=1) + "\n").encode())
    if ledger.is_file():
        lines = ledger.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not is_theirs(_course(line))]
        write_atomically(ledger, "".join(kept).encode())
    for log in (run / "logs").glob("*"):
        if is_theirs(log.name):
            shutil.rmtree(log)


def _course(line: str) -> str | None:
    try:
        course: str | None = json.loads(line).get("course")
    except ValueError:
        return None
    return course


def remove_results(folder: CohortFolder) -> list[str]:
    """Remove the tables of every run; the runs that had some."""
    removed = []
    for path in sorted(folder.results.glob("*")):
        if path.is_symlink():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
            removed.append(path.name)
    return removed

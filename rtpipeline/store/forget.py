"""Removing a withdrawn patient from a cohort: outputs, index, registry, plans, logs and tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
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
            f"no patient of cohort {folder.cohort} has this id; give the pseudonym of the tables or the PatientID."
        )
    return sorted(found)


def courses_of(folder: CohortFolder, patients: Sequence[str]) -> list[str]:
    """Course folders of these patients."""
    names = [p.name for p in (folder.root / "courses").glob("*") if p.is_dir()]
    return sorted(n for n in names if n.rpartition("-c")[0] in patients)


def forget(folder: CohortFolder, patients: Sequence[str]) -> None:
    """Remove these patients from everything but `results/`. The export itself is not touched."""
    courses = courses_of(folder, patients)
    for course in courses:
        shutil.rmtree(folder.root / "courses" / course)
    for name in ("identity.parquet", "index.parquet"):
        _without_rows(folder.private / name, patients)
    registry = folder.private / "registry.json"
    if registry.is_file():
        content = json.loads(registry.read_bytes())
        content["patients"] = {p: entry for p, entry in content["patients"].items() if p not in patients}
        write_atomically(registry, (json.dumps(content, indent=1) + "\n").encode())
    for output in sorted((folder.root / "organize").glob("*")):
        if (output / "courses.json").is_file():
            _forget_in_organize(output, patients)
    for run in sorted((folder.root / "runs").glob("*")):
        _forget_in_run(run, patients)


def _without_rows(path: Path, patients: Sequence[str]) -> None:
    """Rewrite a table without the rows of these patients."""
    if not path.is_file():
        return
    table = pq.read_table(path)
    mask = pc.is_in(table["patient_id"], value_set=_strings(patients))
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
        return (course_id or "").rpartition("-c")[0] in patients

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

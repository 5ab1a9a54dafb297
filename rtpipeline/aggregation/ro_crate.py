"""The results as an RO-Crate 1.1 (https://w3id.org/ro/crate/1.1): files, software, configuration, and the run that made
them. Nothing that identifies a patient, a person or a machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtpipeline.contracts.tables import TABLES
from rtpipeline.report.tables import COURSE_PAGES
from rtpipeline.store.folder import write_atomically
from rtpipeline.store.keys import file_sha256

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "https://w3id.org/ro/crate/1.1"
METADATA = "ro-crate-metadata.json"

MEDIA_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".csv": "text/csv",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".html": "text/html",
    ".json": "application/json",
}

DESCRIPTIONS = {
    "config.yaml": "resolved configuration of the run",
    "data_dictionary.md": "every column of the tables with type, unit and meaning",
    "methods.md": "methods text with versions and references",
    "report/index.html": "report of the cohort",
    "rtpipeline_results.xlsx": "the tables as a workbook",
    "run.json": "stages, versions and settings digests of the run",
}


def ro_crate(
    results: Path, cohort: str, run: Mapping[str, Any], libraries: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The crate's metadata for the files that lie in `results` now.

    Parameters
    ----------
    run: content of `run.json`. libraries: name to versions.
    """
    files = sorted(p for p in results.rglob("*") if p.is_file() and p.name not in (METADATA, "stage.json", "stage.log"))
    names = [p.relative_to(results).as_posix() for p in files]
    programs = [_software("rtpipeline", [run["program"]["rtpipeline"]])]
    programs += [_software(name, versions) for name, versions in libraries.items()]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"RTpipeline results of cohort {cohort}",
        "description": "Pseudonymous research tables from DICOM-RT exports. For research, not for treatment decisions.",
        "datePublished": run["aggregated_utc"],
        "license": "Not stated: the owner of the data sets the terms.",
        "hasPart": [{"@id": n} for n in names],
        "mentions": [{"@id": "#run"}],
    }
    action = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"run {run['run_id']}",
        "instrument": [{"@id": p["@id"]} for p in programs],
        "object": [{"@id": "config.yaml"}],
        "result": [{"@id": n} for n in names if n != "config.yaml"],
        "endTime": run["aggregated_utc"],
        **({"startTime": run["started_utc"]} if run.get("started_utc") else {}),
    }
    metadata = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": {"@id": PROFILE},
        "about": {"@id": "./"},
    }
    entities = [_file(path, name) for path, name in zip(files, names, strict=True)]
    return {"@context": CONTEXT, "@graph": [metadata, root, action, *programs, *entities]}


def refresh(results: Path, name: str) -> None:
    """State size and hash of a file anew that has been written again after the crate was."""
    path = results / METADATA
    crate = json.loads(path.read_bytes())
    crate["@graph"] = [_file(results / name, name) if e["@id"] == name else e for e in crate["@graph"]]
    save(crate, results)


def save(crate: dict[str, Any], results: Path) -> None:
    """Write `ro-crate-metadata.json`."""
    text = json.dumps(crate, indent=1, ensure_ascii=False) + "\n"
    write_atomically(results / METADATA, text.encode())
    (results / METADATA).chmod(0o644)  # as the files beside it


def _software(name: str, versions: Sequence[str]) -> dict[str, Any]:
    return {
        "@id": f"#software-{name}",
        "@type": "SoftwareApplication",
        "name": name,
        "version": ", ".join(versions),
        "softwareVersion": ", ".join(versions),
    }


def _page_of(name: str) -> str:
    """What a file without a description of its own is: the page of a course, or its name."""
    return f"page of course {Path(name).stem}" if name.startswith(f"{COURSE_PAGES}/") else name


def _file(path: Path, name: str) -> dict[str, Any]:
    table = TABLES.get(path.stem) if path.suffix in (".parquet", ".csv") else None
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "description": table.meaning if table else DESCRIPTIONS.get(name, _page_of(name)),
        "encodingFormat": MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        "contentSize": str(path.stat().st_size),
        "sha256": file_sha256(path),
    }

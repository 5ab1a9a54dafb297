"""Keys: the name of an output is known before anything is computed.

`stage_key = <input digest>-<settings digest>`, 12 hex each. The input digest of a course comes from organize, the
settings digest is the same for every course.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from rtpipeline.config import Config, Section, without_folders
from rtpipeline.contracts.manifests import Course
from rtpipeline.errors import ConfigError
from rtpipeline.stages import STAGES, Stage

DIGEST_HEX = 12
ABSENT_FILE = "absent"
ABSENT_LIBRARY = "absent"

PINS_VARIABLE = "RTPIPELINE_PINS"
"""Names a constraints file with the versions of what other images of the same release hold."""


def digest(value: Any) -> str:
    """12 hex of the sha256 over the canonical JSON of a value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_HEX]


def file_sha256(path: Path) -> str:
    """sha256 of a file's content, read in blocks."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


@cache
def installed_version(distribution: str) -> str:
    """Installed version of a distribution, `absent` when it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ABSENT_LIBRARY


def library_version(distribution: str) -> str:
    """Version that a stage computes with: the installed one, else that of the pins, else `absent`.

    An image of a cluster that plans does not hold what computes in another one; both carry the same pins.
    """
    installed = installed_version(distribution)
    return installed if installed != ABSENT_LIBRARY else _pins().get(_canonical(distribution), ABSENT_LIBRARY)


def _canonical(distribution: str) -> str:
    """A distribution's name as package indexes compare it (packaging.python.org, name normalization)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _pins() -> dict[str, str]:
    path = os.environ.get(PINS_VARIABLE)
    return _pins_of(Path(path)) if path else {}


@cache
def _pins_of(path: Path) -> dict[str, str]:
    """Distribution to version, of the lines `name==version` of a constraints file.

    Raises
    ------
    ConfigError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{PINS_VARIABLE} names {path}, which cannot be read ({type(error).__name__}).") from None
    pairs = (line.split("#")[0].split(";")[0].strip().split("==") for line in lines)
    return {_canonical(pair[0].strip()): pair[1].split()[0] for pair in pairs if len(pair) == 2 and pair[1].strip()}


def _result_fields(section: Section, name: str, value: Any) -> Any:
    extra = type(section).model_fields[name].json_schema_extra
    kind = extra.get("result", True) if isinstance(extra, dict) else True
    if kind is False:
        return None
    if kind == "file":
        return file_sha256(value) if value is not None else ABSENT_FILE
    return section.model_dump(mode="json", include={name})[name]


def config_slice(stage: Stage, config: Config, *, results_only: bool = False) -> dict[str, Any]:
    """The part of the configuration that a stage reads, as plain JSON values.

    `results_only` leaves out what cannot change a number, and replaces files by the hash of their content. Otherwise
    of a path only its last part is given: the slice is kept in `stage.json`.
    """
    full: dict[str, Any] = {}
    whole = {} if results_only else without_folders(config)
    for name in stage.config:
        section, _, field = name.partition(".")
        value = getattr(config, section)
        if field:
            full.setdefault(section, {})[field] = _result_fields(value, field, getattr(value, field))
            continue
        if not isinstance(value, Section):
            full[name] = _result_fields(config, name, value) if results_only else whole[name]
        elif results_only:
            fields = {f: _result_fields(value, f, getattr(value, f)) for f in type(value).model_fields}
            full[name] = {f: v for f, v in fields.items() if v is not None}
        else:
            full[name] = whole[name]
    return full


def settings_digest(
    name: str,
    config: Config,
    weights: Mapping[str, Mapping[str, str]] | None = None,
    *,
    libraries: Mapping[str, str] | None = None,
    upstream: Mapping[str, str] | None = None,
) -> str:
    """Digest of everything but the data that can change a stage's result.

    Parameters
    ----------
    weights: for each stage, file name to sha256 of its weights and parameter files.
    libraries: distribution to version, where another machine computes; None for those of this one.
    upstream: settings digests of the stages waited for, where they are known; None to work them out.
    """
    stage = STAGES[name]
    if upstream is None:
        upstream = {up: settings_digest(up, config, weights, libraries=libraries) for up in stage.upstream}
    if libraries is None:
        libraries = {lib: library_version(lib) for lib in stage.libraries}
    return digest(
        {
            "stage": name,
            "version": stage.version,
            "built": stage.entry is not None,
            "config": config_slice(stage, config, results_only=True),
            "weights": dict((weights or {}).get(name, {})),
            "libraries": {lib: libraries.get(lib, ABSENT_LIBRARY) for lib in stage.libraries},
            "threads": stage.resources.threads,
            "upstream": {up: upstream[up] for up in stage.upstream},
        }
    )


def stage_key(input_digest: str, settings: str) -> str:
    """`<input digest>-<settings digest>`."""
    return f"{input_digest[:DIGEST_HEX]}-{settings[:DIGEST_HEX]}"


def course_stage_key(name: str, course: Course, settings: str) -> str:
    """Key of a course stage, from the input digest that the table names for it."""
    hangs_on = STAGES[name].digest
    return stage_key(course.image_digest if hangs_on == "image" else course.course_digest, settings)


def key(cohort: str, *parts: str) -> PurePosixPath:
    """Every path of a store, on disk and in a bucket, is made here."""
    return PurePosixPath(cohort, *parts)


def stage_path(cohort: str, stage: str, stage_key: str, course_id: str | None = None) -> PurePosixPath:
    """Where a stage's output lies below the store."""
    if course_id is None:
        return key(cohort, stage, stage_key)
    return key(cohort, "courses", course_id, stage, stage_key)


def output_digest(folder: Path) -> str:
    """sha256 over the sorted (path, sha256) of a folder's files, `stage.json` and `stage.log` apart."""
    hasher = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = file.relative_to(folder).as_posix()
        if name not in ("stage.json", "stage.log"):
            hasher.update(f"{name}\0{file_sha256(file)}\n".encode())
    return hasher.hexdigest()

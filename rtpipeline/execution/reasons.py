"""Why a course-stage has to run: what differs between the outputs that lie there and what is asked for now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rtpipeline.config import Config, Section
from rtpipeline.contracts.manifests import Upstream
from rtpipeline.execution.outputs import Output, read_record
from rtpipeline.stages import Stage
from rtpipeline.store.keys import config_slice, library_version

SHOWN_DIFFERENCES = 3


class Kind(StrEnum):
    """The words `plan` uses."""

    NEW_INPUT = "new input"
    CHANGED_SETTING = "changed setting"
    NEW_VERSION = "new version"
    CHANGED_UPSTREAM = "changed upstream"
    EARLIER_FAILURE = "earlier failure"
    FORCED = "forced"


@dataclass(frozen=True)
class Reason:
    """Why a course-stage runs."""

    kind: Kind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else str(self.kind)


@dataclass(frozen=True)
class Demands:
    """What the user asks to be computed again."""

    forced: frozenset[str] = frozenset()
    """stages, their dependants included"""
    redo: frozenset[str] = frozenset()
    """statuses that `retry` does not keep"""


def why_it_runs(
    stage: Stage,
    output: Output | None,
    upstream: Mapping[str, Upstream],
    demands: Demands,
) -> Reason | None:
    """The reason for a stage whose key folder exists; None when its output is kept.

    Without an output the caller asks `explain_absence`, which has to look at older outputs.
    """
    if stage.name in demands.forced:
        return Reason(Kind.FORCED)
    if output is None:
        return Reason(Kind.NEW_INPUT)
    if not output.is_final or output.status in demands.redo:
        return Reason(Kind.EARLIER_FAILURE, f"{output.status}: {output.reason}" if output.reason else output.status)
    changed = [name for name in stage.upstream if output.upstream.get(name) != upstream[name]]
    if changed:
        return Reason(Kind.CHANGED_UPSTREAM, ", ".join(changed))
    return None


def explain_absence(stage: Stage, folder: Path, config: Config, failure: str = "") -> Reason:
    """Why no output has this key: compares the key with those of older outputs of the same course-stage.

    Parameters
    ----------
    folder: the output folder that does not exist; its name is the key, its siblings are the older outputs.
    failure: how the last run says it ended, '' when it does not.
    """
    inputs, _, settings = folder.name.partition("-")
    older = _older_keys(folder)
    if failure:
        return Reason(Kind.EARLIER_FAILURE, failure)
    same_input = [p for p in older if p.name.startswith(f"{inputs}-")]
    if same_input:
        return _changed_settings(stage, same_input[-1], config)
    if any(p.name.endswith(f"-{settings}") for p in older):
        return Reason(Kind.NEW_INPUT, "the objects of the course have changed")
    if older:
        changed = _changed_settings(stage, older[-1], config)
        return Reason(Kind.NEW_INPUT, f"the objects of the course have changed; also {changed}")
    return Reason(Kind.NEW_INPUT)


def _older_keys(folder: Path) -> list[Path]:
    """Complete outputs beside a key folder, the newest last."""
    if not folder.parent.is_dir():
        return []
    records = [p / "stage.json" for p in folder.parent.iterdir() if not p.name.startswith(".") and p != folder]
    return [r.parent for r in sorted((r for r in records if r.is_file()), key=lambda r: r.stat().st_mtime_ns)]


def _changed_settings(stage: Stage, older: Path, config: Config) -> Reason:
    record = read_record(older) or {}
    if record.get("stage_version") != stage.version:
        return Reason(Kind.NEW_VERSION, f"stage {record.get('stage_version')} -> {stage.version}")
    versions = record.get("versions", {})
    libraries = [
        f"{lib} {versions.get(lib)} -> {library_version(lib)}"
        for lib in stage.libraries
        if versions.get(lib) != library_version(lib)
    ]
    if libraries:
        return Reason(Kind.NEW_VERSION, _few(libraries))
    settings = changed_settings(record.get("config", {}), stage, config)
    if settings:
        return Reason(Kind.CHANGED_SETTING, _few(settings))
    return Reason(Kind.CHANGED_SETTING, "of a stage it waits for, or the content of a file it names")


def changed_settings(earlier: Mapping[str, Any], stage: Stage, config: Config) -> list[str]:
    """`section.key old -> new` for each setting that can change a result and differs from the recorded slice."""
    found = []
    for key, value in _result_settings(config_slice(stage, config), config).items():
        before: Any = earlier
        for part in key.split("."):
            before = before.get(part) if isinstance(before, Mapping) else None
        if before != value:
            found.append(f"{key} {_short(before)} -> {_short(value)}")
    return found


def _result_settings(plain: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """The settings of a slice that can change a result, by dotted name."""
    found: dict[str, Any] = {}
    for name, value in plain.items():
        section = getattr(config, name)
        if isinstance(section, Section):
            found.update({f"{name}.{f}": v for f, v in value.items() if _changes_results(section, f)})
        elif _changes_results(config, name):
            found[name] = value
    return found


def _changes_results(section: Section, name: str) -> bool:
    extra = type(section).model_fields[name].json_schema_extra
    return not (isinstance(extra, dict) and extra.get("result") is False)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _few(texts: list[str]) -> str:
    more = len(texts) - SHOWN_DIFFERENCES
    return ", ".join(texts[:SHOWN_DIFFERENCES]) + (f" and {more} more" if more > 0 else "")

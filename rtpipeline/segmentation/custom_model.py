"""Declared nnU-Net models of the user: `custom_model.yaml`, one in each folder below `custom_models.root`.

A checkpoint is a pickle that can run code when it is loaded. Therefore a model runs only when every file that nnU-Net
reads of it is declared with its sha256 and has it, and when its labels are those of its own `dataset.json`: names go by
number, never by position.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

DECLARATION = "custom_model.yaml"

CHECKPOINT = re.compile(r"fold_(all|\d+)/(checkpoint_\w+\.pth)")
"""nnU-Net's place of a checkpoint, relative to the model folder."""

ALWAYS_READ = ("dataset.json", "plans.json")
"""What nnU-Net reads of a model folder besides checkpoints."""

AXES = ({"L", "R"}, {"A", "P"}, {"S", "I"})


class InvalidModelError(Exception):
    """A model that cannot be used. measured, expected, remedy: what a finding says of it."""

    def __init__(self, measured: str, expected: str, remedy: str) -> None:
        super().__init__(measured)
        self.measured, self.expected, self.remedy = measured, expected, remedy


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value or not path.parts:
        raise ValueError("must be a path within the model's folder")
    return path.as_posix()


def _sha256(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value.lower()):
        raise ValueError("must be 64 hexadecimal digits")
    return value.lower()


def _orientation(value: str) -> str:
    if len(value) != 3 or any(sum(letter in axis for letter in value) != 1 for axis in AXES):
        raise ValueError("must be three letters, one of each L/R, A/P and S/I, such as LPS, RAS or LAS")
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""Part of folder names and of ids in the tables."""


class ModelDeclaration(BaseModel):
    """`custom_model.yaml`. Every key can change the result, so that its hash enters the keys of outputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    description: str = ""
    folder: Annotated[str, AfterValidator(_inside)]
    """the nnU-Net model folder `Trainer__Plans__configuration`, relative to this file"""
    labels: dict[Annotated[int, Field(ge=1, le=65535)], Annotated[str, StringConstraints(min_length=1)]]
    """structure name by number in the label map, as in dataset.json"""
    sha256: dict[Annotated[str, AfterValidator(_inside)], Annotated[str, AfterValidator(_sha256)]]
    """by path below `folder`: dataset.json, plans.json and every checkpoint that is to be loaded"""
    folds: list[int | Literal["all"]] | None = None
    """folds to average; all declared ones when absent"""
    modality: Literal["CT", "MR"] = "CT"
    orientation: Annotated[str, AfterValidator(_orientation)] = "LPS"
    """directions in which columns, rows and planes run in the images that the network was trained on. LPS: as slices of
    a head-first supine series lie; RAS or LAS: as NIfTI files usually do. Other positions are turned to it, exactly"""
    required_body_regions: list[Literal["HEAD_NECK", "THORAX", "ABDOMEN", "PELVIS"]] = Field(default_factory=list)
    min_region_confidence: float = Field(0.5, ge=0, le=1)
    keep_largest_component: bool = False
    step_size: float = Field(0.5, gt=0, le=1)
    """of the sliding window, as a share of the patch"""
    disable_tta: bool = False
    """no averaging over mirrored images"""
    enabled: bool = True
    phantom: bool = False
    """knows nothing but the demo's phantom: runs for courses of the demo and for no other"""

    @model_validator(mode="after")
    def _complete(self) -> ModelDeclaration:
        if not self.labels:
            raise ValueError("labels: at least one is needed")
        if len(set(self.labels.values())) < len(self.labels):
            raise ValueError("labels: each name may stand there once")
        if missing := [name for name in ALWAYS_READ if name not in self.sha256]:
            raise ValueError(f"sha256: {', '.join(missing)} not declared")
        declared = [m for m in map(CHECKPOINT.fullmatch, self.sha256) if m]
        if not declared:
            raise ValueError("sha256: no checkpoint declared (fold_0/checkpoint_final.pth)")
        if len({m[2] for m in declared}) > 1:
            raise ValueError("sha256: checkpoints of more than one name; declare one kind for all folds")
        for fold in self.folds or []:
            if str(fold) not in {m[1] for m in declared}:
                raise ValueError(f"folds: the checkpoint of fold {fold} is not declared under sha256")
        return self

    @property
    def used_folds(self) -> tuple[int | Literal["all"], ...]:
        """The folds to average, in order; a model of `all` data is used alone unless folds are named."""
        if self.folds:
            return tuple(dict.fromkeys(self.folds))
        declared = {m[1] for m in map(CHECKPOINT.fullmatch, self.sha256) if m}
        return ("all",) if "all" in declared else tuple(sorted(map(int, declared)))

    @property
    def checkpoint(self) -> str:
        """Name of the checkpoint files within a fold."""
        return next(m[2] for m in map(CHECKPOINT.fullmatch, self.sha256) if m)


def read_declaration(path: Path) -> ModelDeclaration:
    """The declaration in a `custom_model.yaml`.

    Raises
    ------
    InvalidModelError: no YAML mapping, an unknown key (with the nearest one), or a value that does not fit.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise _wrong(f"{DECLARATION} is no valid YAML") from None
    if not isinstance(raw, dict):
        raise _wrong(f"{DECLARATION} is no mapping of keys")
    try:
        return ModelDeclaration.model_validate(raw)
    except ValidationError as error:
        raise _wrong("; ".join(dict.fromkeys(_explain(item) for item in error.errors()))) from None


def _wrong(measured: str) -> InvalidModelError:
    return InvalidModelError(measured, f"a valid {DECLARATION}", f"correct {DECLARATION}")


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"] if part != "[key]")
    if item["type"] == "extra_forbidden":
        known = sorted(ModelDeclaration.model_fields)
        near = difflib.get_close_matches(where, known, n=1, cutoff=0.4)
        return f"unknown key {where!r}; " + (f"did you mean {near[0]!r}?" if near else f"keys: {', '.join(known)}")
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message

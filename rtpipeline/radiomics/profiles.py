"""What to compute: settings, image types and feature classes of PyRadiomics under a name.

The named profiles are PyRadiomics parameter files (`parameters/*.yaml`), which the library reads as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from rtpipeline.errors import ConfigError

PARAMETERS = Path(__file__).parent / "parameters"
SECTIONS = ("setting", "imageType", "featureClass")
RESERVED = ("label", "label_channel", "voxelSetting")
"""Which voxels of a mask are meant is said by who gives the mask; maps of features are not tables."""


@dataclass(frozen=True)
class Profile:
    """Settings of one extraction.

    settings: PyRadiomics' settings, all that differ from the library's defaults. image_types: filters by name with
    their own settings. feature_classes: by name the features, empty for all.
    """

    name: str
    settings: dict[str, Any]
    image_types: dict[str, dict[str, Any]]
    feature_classes: dict[str, list[str]]

    @cached_property
    def digest(self) -> str:
        """12 hex over everything but the name."""
        content = {"settings": self.settings, "images": self.image_types, "features": self.feature_classes}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def resampled_voxels(self, voxels: int, spacing_xyz_mm: Sequence[float]) -> int:
        """How many voxels a mask of so many has on the lattice that features are computed on.

        As PyRadiomics reads it, 0 in resampledPixelSpacing keeps the image's spacing along that axis.
        """
        wanted = self.settings.get("resampledPixelSpacing") or (0.0, 0.0, 0.0)
        return round(voxels * math.prod(mm / (to or mm) for mm, to in zip(spacing_xyz_mm, wanted, strict=True)))

    @property
    def normalises(self) -> bool:
        """Whether the whole image is brought to mean 0 and standard deviation 1 first."""
        return bool(self.settings.get("normalize", False))


def profile_names() -> list[str]:
    """The named profiles."""
    return sorted(path.stem for path in PARAMETERS.glob("*.yaml"))


def load_profile(name_or_yaml_path: str | Path) -> Profile:
    """The profile of a name, or of a PyRadiomics parameter file; a file's profile bears the file's name.

    Raises
    ------
    ConfigError: neither a name nor a file, or a file that PyRadiomics would refuse.
    """
    text = str(name_or_yaml_path)
    if text in profile_names():
        return _profile(_read(PARAMETERS / f"{text}.yaml"), text)
    path = Path(name_or_yaml_path)
    if not path.is_file():
        raise ConfigError(
            f"radiomics profile {text!r}: neither a name nor a file; names are {', '.join(profile_names())}."
        )
    raw = _read(path)
    _refuse_unknown(raw, path)
    return _profile(raw, path.stem)


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"radiomics parameters {path} are no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"radiomics parameters {path} hold a {type(raw).__name__}; need {', '.join(SECTIONS)}.")
    return raw


def _profile(raw: dict[str, Any], name: str) -> Profile:
    setting = {k: v for k, v in (raw.get("setting") or {}).items() if k not in RESERVED}
    return Profile(
        name=name,
        settings=setting,
        image_types={k: dict(v or {}) for k, v in (raw.get("imageType") or {"Original": {}}).items()},
        feature_classes={k: list(v or []) for k, v in (raw.get("featureClass") or _all_classes()).items()},
    )


def _all_classes() -> dict[str, list[str]]:
    return {name: [] for name in ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")}


def _refuse_unknown(raw: dict[str, Any], path: Path) -> None:
    """By the library's own schema: a misspelt setting would otherwise be ignored without a word."""
    import logging

    from pykwalify.core import Core  # type: ignore[import-untyped]
    from pykwalify.errors import PyKwalifyException  # type: ignore[import-untyped]
    from radiomics import getParameterValidationFiles

    if "voxelSetting" in raw:
        raise ConfigError(f"radiomics parameters {path}: voxelSetting makes maps of features; remove it.")
    if "shape2D" in (raw.get("featureClass") or {}):
        raise ConfigError(f"radiomics parameters {path}: shape2D is for masks on one slice; remove it, or use shape.")
    if "LBP3D" in (raw.get("imageType") or {}):  # the library leaves it out in silence: SciPy has no sph_harm any more
        raise ConfigError(f"radiomics parameters {path}: LBP3D does not work with the SciPy of today; remove it.")
    logging.getLogger("pykwalify").setLevel(logging.CRITICAL)  # its text comes with the exception
    schema, functions = getParameterValidationFiles()
    try:
        Core(source_data=raw, schema_files=[schema], extensions=[functions]).validate()
    except (PyKwalifyException, ValueError, TypeError) as error:  # the last two by the library's own checks
        raise ConfigError(f"radiomics parameters {path} cannot be used: {' '.join(str(error).split())}") from None
    for name, counts in (("resampledPixelSpacing", (3,)), ("resegmentRange", (1, 2))):
        values = (raw.get("setting") or {}).get(name)
        if values is not None and len(values) not in counts:
            needed = " or ".join(map(str, counts))
            raise ConfigError(f"radiomics parameters {path}: {name} has {len(values)} values; need {needed}.")

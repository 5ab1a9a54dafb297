"""The configurations that the demo is run with, written beside it as a user would write them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

PROFILES = ("demo", "full")
"""demo: minutes on two cores. full: every feature and perturbation of the defaults."""

CONFIG = "config.yaml"
COMPANIONS = ("constraints.csv", "custom_structures.yaml", "structure_names.csv")


def write_profile(out: Path, profile: str) -> Path:
    """Write `config.yaml` and the files that it names into `out`; the path of the configuration.

    Raises
    ------
    KeyError: there is no such profile.
    """
    if profile not in PROFILES:
        raise KeyError(f"profile {profile!r}; there are {', '.join(PROFILES)}")
    folder = files("rtpipeline.demo") / "profiles"
    for name in COMPANIONS:
        (out / name).write_text((folder / name).read_text(encoding="utf-8"), encoding="utf-8")
    path = out / CONFIG
    path.write_text((folder / f"{profile}.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return path

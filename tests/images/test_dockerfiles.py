"""What the Dockerfiles say: nobody is root, everything is pinned, nothing secret and no weights get in."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "images"
DOCKERFILES = [IMAGES / "cpu" / "Dockerfile", IMAGES / "gpu" / "Dockerfile"]
SCRIPTS = sorted(IMAGES.glob("*.sh"))
UID = "8737"
WEIGHTS = {".pth", ".pt", ".onnx", ".ckpt", ".safetensors"}
DEMO_WEIGHTS_LIMIT_BYTES = 2_000_000
"""The phantom's networks together; any network of a patient is a hundred times larger."""


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word.upper(), rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages(dockerfile: Path) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Stage name to what it starts from and its instructions."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for word, rest in instructions(dockerfile):
        if word == "FROM":
            origin, _, name = rest.partition(" AS ")
            found[name] = (origin, [])
        elif found:
            found[list(found)[-1]][1].append((word, rest))
    return found


def lineage(dockerfile: Path, stage: str) -> list[tuple[str, str]]:
    """The instructions that a stage consists of, those of the stages below it first."""
    origin, own = stages(dockerfile)[stage]
    return (lineage(dockerfile, origin) if origin in stages(dockerfile) else []) + own


@pytest.fixture(params=DOCKERFILES, ids=["cpu", "gpu"])
def dockerfile(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_the_last_stage_is_the_image_and_its_user_is_not_root(dockerfile: Path) -> None:
    assert list(stages(dockerfile))[-1] == "image"
    users = [rest for word, rest in lineage(dockerfile, "image") if word == "USER"]
    assert users[-1] == f"{UID}:{UID}"


def test_every_stage_starts_from_an_argument_or_another_stage(dockerfile: Path) -> None:
    names = set(stages(dockerfile))
    for name, (origin, _) in stages(dockerfile).items():
        assert origin in names or re.fullmatch(r"\$\{[A-Z_]+\}", origin), f"{name} starts from a fixed {origin}"


def test_base_images_are_tagged_and_not_the_latest() -> None:
    arguments = dict(rest.split("=", 1) for word, rest in instructions(DOCKERFILES[0]) if word == "ARG" and "=" in rest)
    assert arguments == {"BASE": "docker.io/library/python:3.11-slim", "BUILD_BASE": "docker.io/library/python:3.11"}


def test_the_code_is_the_last_layer(dockerfile: Path) -> None:
    layers = [(word, rest) for word, rest in lineage(dockerfile, "image") if word in ("RUN", "COPY", "ADD")]
    assert layers[-1] == ("COPY", "--from=code /opt/rtpipeline/app /opt/rtpipeline/app")
    assert not [rest for _, rest in layers[:-1] if "code" in rest], "no earlier layer depends on the code"


def test_both_images_have_the_same_code_layer() -> None:
    assert stages(DOCKERFILES[1])["code"] == ("${CPU_IMAGE}", [])


def test_every_image_says_what_it_is(dockerfile: Path) -> None:
    labels = " ".join(rest for word, rest in lineage(dockerfile, "image") if word == "LABEL")
    found = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', labels))
    assert set(found) == {"title", "description", "version", "revision", "licenses"}
    assert found["title"] == f"rtpipeline-{dockerfile.parent.name}"
    assert (found["version"], found["revision"]) == ("${VERSION}", "${REVISION}")


def test_only_tmp_and_work_are_written_when_it_runs() -> None:
    settings = " ".join(rest for word, rest in lineage(DOCKERFILES[0], "image") if word == "ENV")
    folders = dict(part.split("=", 1) for part in settings.split())
    for name in ("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
        assert folders[name].split("/")[1] == "tmp", name
    assert folders["PYTHONDONTWRITEBYTECODE"] == "1"
    assert folders["NUMBA_CACHE_DIR"].startswith("/opt/rtpipeline/app/"), "compiled kernels are part of the code layer"
    assert folders["RTPIPELINE_PINS"] == "/opt/rtpipeline/constraints.txt"


def test_every_install_is_pinned(dockerfile: Path) -> None:
    installs = [
        command
        for _, own in stages(dockerfile).values()
        for word, rest in own
        if word == "RUN"
        for command in rest.split("&&")
        if "pip install" in command
    ]
    assert installs
    for command in installs:
        bounded = all(re.search(r"<\d", name) for name in re.findall(r"'([^']+)'", command)) and "'" in command
        of_constraints = "-r /tmp/nvidia.txt" in command  # lines of constraints.txt
        of_the_source = "--no-deps" in command and command.strip().endswith("/source")
        assert "--constraint constraints.txt" in command or bounded or of_constraints or of_the_source, command


def test_downloads_go_to_the_mounted_cache_and_into_no_layer() -> None:
    for word, rest in lineage(DOCKERFILES[1], "dependencies"):
        if word == "RUN" and "uv pip install" in rest:  # HOME is /tmp there, so uv would keep them in the layer
            assert "target=/root/.cache/uv" in rest
            assert rest.count("uv pip install") == rest.count("--cache-dir /root/.cache/uv")


def test_every_requirement_has_a_pin(tmp_path: Path) -> None:
    subprocess.run([sys.executable, IMAGES / "requirements.py", ROOT / "pyproject.toml", tmp_path], check=True)
    pins = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().split()}
    for image in ("cpu", "gpu"):
        for line in (tmp_path / f"{image}.txt").read_text().splitlines():
            name = re.split(r"[<>=!~ \[;]", line, maxsplit=1)[0].lower()
            assert name in pins, f"{image}: {name} has no pin in constraints.txt"


def test_the_images_have_every_requirement_but_those_of_developers(tmp_path: Path) -> None:
    subprocess.run([sys.executable, IMAGES / "requirements.py", ROOT / "pyproject.toml", tmp_path], check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {*project["dependencies"], *(r for name, rs in extras.items() if name != "dev" for r in rs)}
    cpu, gpu = ((tmp_path / f"{image}.txt").read_text().splitlines() for image in ("cpu", "gpu"))
    assert {*cpu, *gpu} == wanted
    assert not [r for r in cpu if re.match("torch|nnunet|totalsegmentator", r, re.IGNORECASE)]


def test_settings_of_the_package_index_are_secrets_of_the_build(dockerfile: Path) -> None:
    for word, rest in instructions(dockerfile):
        if word in ("ARG", "ENV", "LABEL", "COPY"):
            assert not re.search(r"PIP_|UV_|proxy|pip\.conf|\.netrc|certificates", rest, re.IGNORECASE), rest
        if word == "RUN" and "--constraint" in rest:
            assert "--mount=type=secret,id=settings" in rest
            assert "--mount=type=secret,id=certificates" in rest


def allowed(path: Path, rules: list[str]) -> bool:
    """Whether .dockerignore lets a file into the build: the last rule that fits it or a folder above it decides."""
    kept = True
    parts = path.parts
    for rule in rules:
        pattern = rule.removeprefix("!")
        for end in range(1, len(parts) + 1):
            name = "/".join(parts[:end])
            fits = fnmatch.fnmatchcase(name, pattern) and pattern.count("/") == name.count("/")
            if pattern.startswith("**/"):
                fits = fnmatch.fnmatchcase(parts[end - 1], pattern[3:])
            if fits:
                kept = rule.startswith("!")
    return kept


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("rtpipeline/cli.py", True),
        ("rtpipeline/demo/weights/SHA256SUMS", True),
        ("workflows/submit.py", True),
        ("pyproject.toml", True),
        ("constraints.txt", True),
        ("README.md", True),
        ("images/finish.py", True),
        ("images/build.sh", False),
        ("rtpipeline/__pycache__/cli.cpython-311.pyc", False),
        ("tests/conftest.py", False),
        (".git/config", False),
        (".venv/bin/python", False),
        ("demo/dicom/1.dcm", False),
        ("out/store/private/secret", False),
        ("shared/data", False),
        (".netrc", False),
        ("pip.conf", False),
    ],
)
def test_the_build_sees_code_and_nothing_else(path: str, expected: bool) -> None:
    rules = [r for r in (ROOT / ".dockerignore").read_text().splitlines() if r and not r.startswith("#")]
    assert allowed(Path(path), rules) is expected


def test_no_weights_but_the_phantoms_tiny_ones_can_get_in() -> None:
    rules = [r for r in (ROOT / ".dockerignore").read_text().splitlines() if r and not r.startswith("#")]
    folders = [rule.removeprefix("!") for rule in rules if rule.startswith("!") and (ROOT / rule[1:]).is_dir()]
    assert folders == ["rtpipeline", "workflows"]
    weights = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in WEIGHTS]
    seen = [p.relative_to(ROOT) for p in weights if allowed(p.relative_to(ROOT), rules)]
    assert {p.parts[:3] for p in seen} == {("rtpipeline", "demo", "weights")}
    assert sum((ROOT / p).stat().st_size for p in seen) < DEMO_WEIGHTS_LIMIT_BYTES
    for text in (path.read_text() for path in DOCKERFILES):
        assert "download" not in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--external-sources", "--severity=warning", script], check=True)

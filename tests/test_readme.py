"""The README holds: what it names exists, and is called as it says. Its walk-through runs in test_demo_run.py."""

from __future__ import annotations

import ast
import re
import shlex

import pytest

from rtpipeline.cli import VERBS, build_parser
from tests.conftest import ROOT
from tests.readme import LINES, README, WALK_THROUGH

PARSER = build_parser(VERBS)
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_readme_has_commands_to_check() -> None:
    assert [line.split()[1] for line in WALK_THROUGH] == ["demo", "validate", "run", "status"]
    assert {line.split()[1] for line in LINES} >= {"setup", "test", "plan", "retry", "doctor", "dvh", "forget"}


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("rtpipeline ")])
def test_the_command_line_takes_it(line: str) -> None:
    """The real parser reads it: commands, options, required ones included, and kinds of values."""
    if set(shlex.split(line)[2:]):
        assert PARSER.parse_args(shlex.split(line)[1:]).handle
    else:
        assert shlex.split(line)[1].replace("-", "_") in VERBS


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_make_knows_target_and_variables(line: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    words = shlex.split(line.split("&&")[0])[1:]
    for word in words:
        name, is_variable, _ = word.partition("=")
        assert re.search(rf"^{name} \?=" if is_variable else rf"^{name}:", makefile, re.MULTILINE), word


def test_every_link_and_path_of_the_readme_and_the_architecture_page_exists() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).is_file(), link
    for name in re.findall(r"`([a-z_]+(?:/[a-z_]*)*(?:\.py|/))`", PAGE):
        assert (ROOT / name).exists() or (ROOT / "rtpipeline" / name).exists() or name == "private/", name


def imports_of(package: str) -> set[str]:
    """Top-level packages and modules of this project that a package imports, itself apart."""
    folder = ROOT / "rtpipeline" / package
    files = [folder] if folder.is_file() else folder.rglob("*.py")
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rtpipeline."):
                found.add(node.module)
    context = {"rtpipeline.execution.context", "rtpipeline.execution.environment"}
    return {name.split(".")[1] for name in found - context} - {"errors", package.removesuffix(".py")}


def test_the_architecture_page_says_what_each_package_imports() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)/?`(?:, `cli.py`)? \| .+ \| (.+?) \|$", PAGE, re.MULTILINE)
    packages = {p.parent.name for p in (ROOT / "rtpipeline").glob("*/__init__.py")}
    assert {name for name, _ in rows} == packages | {"config.py"}
    for name, listed in rows:
        if listed != "all":
            assert imports_of(name) == set(listed.split(", ")) - {"nothing"}, name


def test_the_architecture_page_is_one_page() -> None:
    assert len(PAGE.splitlines()) <= 70


def test_the_example_of_the_manifest_page_loads(tmp_path):
    from rtpipeline.organize.user_manifest import load_user_manifest

    lines = (ROOT / "docs" / "manifest.md").read_text().splitlines()
    example = [line.strip() for line in lines if line.startswith("    ")]
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join(example) + "\n")
    rows = load_user_manifest(path)
    assert [r.rx_gy for r in rows] == [66.0, 54.0, None, None]
    assert [r.fractions_delivered for r in rows] == [None, None, 12, None]
    assert [r.include for r in rows] == [None, None, None, False]

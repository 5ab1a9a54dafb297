"""What values.yaml says about its values. `python -m tests.helm.documented_values` writes it into the README."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[2] / "helm" / "rtpipeline"
BEGIN, END = "<!-- values: made by `python -m tests.helm.documented_values` -->", "<!-- end of values -->"
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_][\w]*):")


@dataclass(frozen=True)
class Value:
    """One documented value. path: keys from the top. text: what its `# --` comment says."""

    path: tuple[str, ...]
    default: Any
    text: str

    @property
    def name(self) -> str:
        """As on the command line: `s3.endpoint`."""
        return ".".join(self.path)


def defaults() -> dict[str, Any]:
    """The chart's values.yaml."""
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return found


def documented(text: str) -> list[Value]:
    """The values that have a `# --` comment, in order."""
    tree = yaml.safe_load(text)
    found: list[Value] = []
    above: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# --"):
            comment = [stripped.removeprefix("# --").strip()]
            continue
        if stripped.startswith("#"):
            comment = [*comment, stripped.removeprefix("#").strip()] if comment else []
            continue
        key = _KEY.match(line)
        if key:
            indent = len(key["indent"])
            above = [(depth, name) for depth, name in above if depth < indent] + [(indent, key["key"])]
            if comment:
                path = tuple(name for _, name in above)
                found.append(Value(path, at(tree, path), " ".join(comment)))
        comment = []
    return found


def at(tree: Any, path: tuple[str, ...]) -> Any:
    """The value at a path."""
    for key in path:
        tree = tree[key]
    return tree


def undocumented(tree: dict[str, Any], known: set[tuple[str, ...]], path: tuple[str, ...] = ()) -> list[str]:
    """Names of values that neither have a comment of their own nor are groups of values that have one."""
    found = []
    for key, value in tree.items():
        here = (*path, key)
        if here in known:
            continue
        if isinstance(value, dict) and value:
            found += undocumented(value, known, here)
        else:
            found.append(".".join(here))
    return found


def table(values: list[Value]) -> str:
    """The values as a table in Markdown."""
    lines = ["| value | default | meaning |", "| --- | --- | --- |"]
    for value in values:
        default = json.dumps(value.default).replace("|", "\\|")
        lines.append(f"| `{value.name}` | `{default}` | {value.text.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def readme_with(table_text: str, readme: str) -> str:
    """The README with this table in its place."""
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table_text}\n{END}{tail}"


if __name__ == "__main__":
    path = CHART / "README.md"
    values = documented((CHART / "values.yaml").read_text(encoding="utf-8"))
    path.write_text(readme_with(table(values), path.read_text(encoding="utf-8")), encoding="utf-8")

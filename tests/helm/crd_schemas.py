"""The schemas of Argo's custom resources, strict: a field that they do not know is an error."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

VARIABLE = "RTPIPELINE_ARGO_CRDS"
PLURALS = ("cronworkflows", "workflowtemplates")


def crd_schemas() -> dict[str, Any]:
    """Schema by kind; the test is skipped where RTPIPELINE_ARGO_CRDS names no folder."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"no schemas of Argo: set {VARIABLE} to manifests/base/crds/full of its sources")
    return _schemas(Path(folder))


@cache
def _schemas(folder: Path) -> dict[str, Any]:
    found = {}
    for path in (folder / f"argoproj.io_{plural}.yaml" for plural in PLURALS):
        crd = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        found[crd["spec"]["names"]["kind"]] = strict(schema)
    return found


def strict(schema: Any, *, is_top: bool = True) -> Any:
    """The schema with unknown fields refused, and `x-kubernetes-int-or-string` said in JSON Schema's words."""
    if isinstance(schema, list):
        return [strict(each, is_top=False) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {key: strict(value, is_top=False) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and "additionalProperties" not in made:
        made.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
    if is_top:
        made["properties"]["metadata"] = {"type": "object"}
    return made


def faults(document: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    """What the schema of its kind has against an object."""
    validator = jsonschema.Draft202012Validator(schemas[document["kind"]])
    return [
        f"{document['metadata']['name']}: {'/'.join(map(str, e.absolute_path))}: {e.message[:200]}"
        for e in validator.iter_errors(document)
    ]

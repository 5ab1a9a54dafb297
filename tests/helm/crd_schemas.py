"""The schemas of Argo's custom resources, strict: a field that they do not know is an error."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

VARIABLE = "RTPIPELINE_ARGO_CRDS"
PLURALS = ("cronworkflows", "workflowtemplates")


def crd_schemas() -> dict[str, Any]:
    """Schema by kind, from RTPIPELINE_ARGO_CRDS or the cluster of KUBECONFIG; a skip where neither has them."""
    if folder := os.environ.get(VARIABLE):
        return _of_folder(Path(folder))
    if config := os.environ.get("KUBECONFIG"):
        return _of_cluster(config)
    pytest.skip(f"no schemas of Argo: set {VARIABLE} to manifests/base/crds/full of its sources, or KUBECONFIG")


@cache
def _of_folder(folder: Path) -> dict[str, Any]:
    paths = (folder / f"argoproj.io_{plural}.yaml" for plural in PLURALS)
    return _schemas(yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) for path in paths)


@cache
def _of_cluster(config: str) -> dict[str, Any]:
    from kubernetes import client
    from kubernetes.config import new_client_from_config
    from urllib3.exceptions import HTTPError

    definitions: Any = client.ApiextensionsV1Api(new_client_from_config(config))
    plain = {"_preload_content": False, "_request_timeout": 20}
    try:
        found = [
            json.loads(definitions.read_custom_resource_definition(f"{plural}.argoproj.io", **plain).data)
            for plural in PLURALS
        ]
    except (HTTPError, client.ApiException) as error:
        pytest.skip(f"the cluster of KUBECONFIG does not give the schemas of Argo: {type(error).__name__}")
    schemas = _schemas(found)
    if not schemas["WorkflowTemplate"]["properties"]["spec"].get("properties"):
        pytest.skip("the cluster of KUBECONFIG has Argo's minimal definitions, which take anything")
    return schemas


def _schemas(definitions: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {
        crd["spec"]["names"]["kind"]: strict(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        for crd in definitions
    }


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

"""The values themselves: all documented, all checked by the schema, all with an effect."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.conftest import Helm, RefusedError, Values, merged
from tests.helm.documented_values import CHART, Value, at, defaults, documented, readme_with, table, undocumented

VALUES = documented((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
FETCH = {"weights": {"fetch": {"enabled": True, "files": [{"url": "https://example.org/a.zip", "sha256": "1" * 64}]}}}

CONTEXT: dict[str, Values] = {
    "s3.caSecret": {"s3": {"caSecret": {"name": "ca"}}},
    "s3.encryption": {"s3": {"encryption": {"enabled": True}}},
    "weights.existingClaim": {"weights": {"kind": "existingClaim", "existingClaim": {"name": "nets"}}},
    "weights.image": {"weights": {"kind": "image", "image": {"reference": "nets:1"}}},
    "weights.fetch": FETCH,
    "networkPolicy.fetch": FETCH,
    "weights.fetch.mirror": {"weights": {"fetch": {"mirror": {"url": "s3://b/w", "sha256": "4" * 64}}}},
    "discover": {"discover": {"enabled": True}},
    "resourceQuota": {"resourceQuota": {"enabled": True}},
    "limitRange": {"limitRange": {"enabled": True}},
}
"""What else has to be said before a value matters, by the beginning of its name."""

CHANGED: dict[str, Any] = {
    "argo.executor.memory": "99Mi",
    "argo.executor.memoryLimit": "9Gi",
    "argo.executor.cpu": "99m",
    "argo.executor.cpuLimit": "9",
    "images.cpu.digest": f"sha256:{'1' * 64}",
    "images.gpu.digest": f"sha256:{'1' * 64}",
    "images.pullPolicy": "Always",
    "images.pullSecrets": ["registry"],
    "s3.endpoint": "http://other.example.org",
    "s3.bucket": "other",
    "s3.addressing": "virtual",
    "weights.kind": "none",
    "weights.claim.size": "1Gi",
    "weights.claim.accessModes": ["ReadWriteOnce"],
    "weights.image.pullPolicy": "Always",
    "weights.fetch.enabled": True,
    "weights.fetch.files": [{"url": "https://example.org/b.zip", "sha256": "2" * 64}],
    "weights.fetch.mirror.url": "s3://bucket/weights",
    "weights.fetch.mirror.sha256": "3" * 64,
    "weights.fetch.cpu": "9",
    "weights.fetch.memory": "9Gi",
    "pods.cpu.tolerations": [{"key": "x", "operator": "Exists"}],
    "pods.gpu.tolerations": [{"key": "x", "operator": "Exists"}],
    "serviceAccounts.submitter.subjects": [{"kind": "Group", "name": "physics"}],
    "discover.schedule": "1 2 * * *",
    "networkPolicy.apiServer.cidrs": ["192.0.2.1/32"],
    "networkPolicy.apiServer.ports": [16443],
    "networkPolicy.s3.cidrs": ["192.0.2.1/32"],
    "networkPolicy.s3.ports": [8333],
    "networkPolicy.fetch.cidrs": ["192.0.2.1/32"],
    "networkPolicy.extraEgress": [{"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}]}],
    "podDisruptionBudget.stages": ["dvh"],
    "limitRange.limits": [{"type": "Pod", "max": {"cpu": "9"}}],
    "tests.cpu": "99m",
    "tests.memory": "99Mi",
}
"""Another value, where none can be made up from the default."""

ELSEWHERE = {"requireArgo": "test_a_cluster_without_argo_is_refused"}
"""Values without an effect on what is rendered, and the test that shows theirs."""


def put(path: tuple[str, ...], value: Any) -> Values:
    for key in reversed(path):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def other(value: Value) -> Any:
    """A value that is not the default."""
    if value.name in CHANGED:
        return CHANGED[value.name]
    if isinstance(value.default, bool):
        return not value.default
    if isinstance(value.default, int):
        return value.default + 1
    if isinstance(value.default, str):
        return f"{value.default}x"
    assert isinstance(value.default, dict), f"{value.name}: say another value in CHANGED"
    return {"other/name": "x"}


@pytest.fixture(scope="module")
def small_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with few stages: a network, a reader, and the limits around them. It renders in half the time."""
    chart = tmp_path_factory.mktemp("chart") / "rtpipeline"
    shutil.copytree(CHART, chart)
    path = chart / "files" / "rtpipeline-courses.yaml"
    courses = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    kept = ("segmentation", "prepare-rt", "shard")
    courses["spec"]["templates"] = [t for t in courses["spec"]["templates"] if t["name"] in kept]
    assert len(courses["spec"]["templates"]) == len(kept)
    path.write_text(yaml.dump(courses, Dumper=yaml.CSafeDumper))
    return chart


@pytest.mark.parametrize(
    "value", [v for v in VALUES if v.name not in ELSEWHERE and v.path[0] != "stages"], ids=lambda v: v.name
)
def test_every_value_has_an_effect(helm: Helm, small_chart: Path, value: Value) -> None:
    """Those of `stages`: test_an_override_reaches_its_stage_everywhere."""
    context: Values = {}
    if value.name != "weights.fetch.enabled" and not value.name.endswith(".enabled"):
        for prefix, needed in CONTEXT.items():
            if value.name.startswith(prefix):
                context = merged(context, needed)
    if value.name == "weights.fetch.enabled":
        context = merged(FETCH, put(value.path, False))
    changed = merged(copy.deepcopy(context), put(value.path, other(value)))
    assert helm.template(context, chart=small_chart) != helm.template(changed, chart=small_chart)


def test_every_value_is_documented() -> None:
    assert undocumented(defaults(), {value.path for value in VALUES}) == []
    assert all(value.text for value in VALUES)


def test_the_readme_has_the_values_as_they_are() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    assert readme == readme_with(table(VALUES), readme), "run `python -m tests.helm.documented_values`"


def test_the_schema_knows_exactly_the_values() -> None:
    assert differences(SCHEMA, defaults()) == []


def differences(schema: dict[str, Any], value: Any, name: str = "values") -> list[str]:
    """Where schema and values name different keys."""
    schema = resolved(schema)
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    known, given = set(schema["properties"]) - {"global"}, set(value)
    # overrides are optional, so values.yaml has them empty
    found = [f"{name}: {sorted(known ^ given)}"] if known != given and value else []
    for key in known & given:
        found += differences(schema["properties"][key], value[key], f"{name}.{key}")
    return found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (
        at(SCHEMA, tuple(schema["$ref"].removeprefix("#/").split("/"))) if "$ref" in schema else schema
    )
    return found


def test_no_object_of_the_schema_takes_unknown_keys() -> None:
    """Except where Kubernetes itself says what may stand there: maps of strings, rules written as it writes them."""
    free = [
        path
        for path, schema in objects_of(SCHEMA)
        if schema.get("additionalProperties") is not False
        and schema.get("additionalProperties") not in ({"type": "string"}, {"type": ["string", "integer"]})
    ]
    assert sorted(free) == [
        "properties.global",
        "properties.limitRange.properties.limits.items",
        "properties.networkPolicy.properties.extraEgress.items",
    ]


def objects_of(schema: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    if isinstance(schema, list):
        return [found for each in schema for found in objects_of(each, path)]
    if not isinstance(schema, dict):
        return []
    here = [(path, schema)] if schema.get("type") == "object" else []
    return here + [found for key, each in schema.items() for found in objects_of(each, f"{path}.{key}".strip("."))]


GROUPS = sorted({value.path[:-1] for value in VALUES if value.path[0] != "stages"} | {("stages", "dvh")})


def test_a_misspelt_key_is_refused_at_every_level(helm: Helm) -> None:
    """All at once: the schema names each of them."""
    values: Values = {}
    for group in GROUPS:
        values = merged(values, put((*group, "misspelt"), 1))
    with pytest.raises(RefusedError) as refused:
        helm.template(values)
    said = str(refused.value)
    for group in GROUPS:
        assert f"at '{''.join('/' + key for key in group)}'" in said, (group, said)
    assert said.count("'misspelt' not allowed") == len(GROUPS)


def test_a_value_of_another_type_is_refused_everywhere(helm: Helm) -> None:
    typed = [
        value
        for value in VALUES
        if value.name not in ("argo.executor.cpu", "argo.executor.cpuLimit", "weights.fetch.cpu", "tests.cpu")
    ]
    values: Values = {}
    for value in typed:
        values = merged(values, put(value.path, 1.5 if not isinstance(value.default, float) else "x"))
    with pytest.raises(RefusedError) as refused:
        helm.template(values, needed=False)
    said = str(refused.value)
    assert [value.name for value in typed if f"at '/{'/'.join(value.path)}'" not in said] == []


@pytest.mark.parametrize(
    "values",
    [
        {"argo": {"executor": {"memory": "lots"}}},
        {"images": {"gpu": {"digest": "sha256:12"}}},
        {"s3": {"bucket": "Upper_Case"}},
        {"s3": {"addressing": "auto-detect"}},
        {"weights": {"kind": "pvc"}},
        {"weights": {"claim": {"accessModes": ["ReadOnlyMany"]}}},
        {"weights": {"fetch": {"files": [{"url": "ftp://example.org/a.zip", "sha256": "1" * 64}]}}},
        {"weights": {"fetch": {"files": [{"url": "https://example.org/a.zip"}]}}},
        {"gpu": {"count": -1}},
        {"semaphores": {"segWorkers": 0}},
        {"stages": {"segment": {"cpu": 1}}},
        {"stages": {"dvh": {"memoryMiB": []}}},
        {"stages": {"dvh": {"memoryMiB": ["2Gi"]}}},
        {"stages": {"dvh": {"cpu": 0}}},
        {"podDisruptionBudget": {"stages": ["dvh", "dvh"]}},
        {"networkPolicy": {"s3": {"cidrs": ["s3.example.org"]}}},
    ],
    ids=json.dumps,
)
def test_a_value_that_cannot_be_is_refused(helm: Helm, values: Values) -> None:
    with pytest.raises(RefusedError, match="values don't meet the specifications"):
        helm.template(values)


def test_values_of_the_matrix_say_something_of_each_group() -> None:
    """So that lint and the schemas of Kubernetes see every part of the chart."""
    said: set[str] = set()
    for path in (CHART / "ci").glob("*-values.yaml"):
        said |= set(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert set(defaults()) - said == {"semaphores", "workflows", "tests"}


def test_the_page_about_clusters_names_values_that_exist() -> None:
    page = (CHART.parents[1] / "docs" / "cluster.md").read_text(encoding="utf-8")
    tree = defaults()
    names = {n for n in re.findall(r"`([a-z]\w*(?:\.\w+)+)`", page) if n.partition(".")[0] in tree}
    assert len(names) > 10
    for name in names:
        found: Any = tree
        for key in name.split("."):
            assert key in found or name.startswith("stages."), name
            found = found.get(key, {})

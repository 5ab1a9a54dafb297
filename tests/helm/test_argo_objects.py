"""Values on Argo's objects: set on what `workflows.render` made, and nothing else about it changed."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtpipeline.stages import STAGES
from tests.helm.conftest import Helm, Object, argo_specs, merged, named, parsed, stage_templates
from tests.helm.documented_values import CHART, defaults

FILES = sorted((CHART / "files").glob("*.yaml"))
READERS = {name for name, stage in STAGES.items() if stage.reader}
OPENERS = {name for name, stage in STAGES.items() if stage.opens_store}
NETWORKS = {name for name, stage in STAGES.items() if stage.image == "gpu"}
WITH_ALL: dict[str, Any] = {
    "discover": {"enabled": True},
    "pods": {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": None}},
}
"""Every object, and no annotation of pods: what the files themselves say."""


def from_files() -> list[Object]:
    return [yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) for path in FILES]


def strings(part: Any) -> Iterator[str]:
    """Every text in an object."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for key, value in part.items():
            yield from strings(key)
            yield from strings(value)
    elif isinstance(part, list):
        for value in part:
            yield from strings(value)


def ladder(template: Object) -> list[int]:
    """The memory of each attempt, MiB, requested and allowed."""
    [main] = [each for each in json.loads(template["podSpecPatch"])["containers"] if each["name"] == "main"]
    resources = main["resources"]
    assert resources["requests"] == resources["limits"]
    found = re.fullmatch(r"\{\{=(\[[0-9,]+\])\[asInt\(retries\)\]\}\}Mi", resources["limits"]["memory"])
    assert found, resources
    rungs: list[int] = json.loads(found[1])
    return rungs


def comparable(spec: Object) -> Object:
    """A workflow spec with the JSON in its patches read: key order there means nothing."""
    for template in spec["templates"]:
        if "podSpecPatch" in template:
            template["podSpecPatch"] = json.loads(template["podSpecPatch"])
    return spec


def test_the_defaults_change_nothing_of_what_the_stage_table_says(helm: Helm) -> None:
    """The only differences are where the store and the inbox are, and that the discovery starts."""
    before, after = argo_specs(from_files()), argo_specs(helm.objects(WITH_ALL))
    assert before.keys() == after.keys()
    for name, spec in before.items():
        for parameter in spec["arguments"]["parameters"]:
            told = {"store": "s3://cohorts", "prefix": "", "inbox": "s3://cohorts/inbox"}
            if parameter["name"] in told:
                assert parameter["value"] == ""
                parameter["value"] = told[parameter["name"]]
        assert comparable(after[name]) == comparable(spec), name


def test_every_expression_survives(helm: Helm) -> None:
    """Go's templates would fail on `{{=` or swallow `{{x}}`. The ladders stand in JSON: compared in the test above."""
    before = Counter(text for each in from_files() for text in strings(each) if "{{" in text and "[asInt" not in text)
    after = Counter(
        text
        for each in helm.objects(WITH_ALL)
        if each["apiVersion"].startswith("argoproj.io/")
        for text in strings(each)
        if "{{" in text and "[asInt" not in text
    )
    assert before == after and sum(before.values()) > 100
    assert "\\u00" not in helm.template(WITH_ALL), "JSON escapes in an expression are not what Argo evaluates"


def test_chart_stage_table_and_schema_name_the_same_stages(helm: Helm) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert list(defaults()["stages"]) == list(STAGES) == list(schema["properties"]["stages"]["properties"])
    assert set(stage_templates(helm.objects({}))) == set(STAGES)
    assert schema["properties"]["podDisruptionBudget"]["properties"]["stages"]["items"]["enum"] == list(STAGES)


def test_every_pool_has_its_limit(helm: Helm) -> None:
    limits = named(helm.objects({"semaphores": {"segWorkers": 7}}), "ConfigMap", "rtpipeline-semaphores")["data"]
    assert {stage.pool for stage in STAGES.values() if stage.pool} | {"shards"} == set(limits)
    assert limits["seg_workers"] == "7"


FETCH: dict[str, Any] = {
    "fetch": {"enabled": True, "files": [{"url": "https://example.org/a.zip", "sha256": "1" * 64}]}
}

OVERRIDES: dict[str, dict[str, Any]] = {
    name: {
        "cpu": 1.5 + number,
        "cpuLimit": f"{30 + number}",
        "memoryMiB": [1000 + number, 2000000 + number],
        "diskMiB": 3000000 + number,
        "shmMiB": 100 + number,
        "timeoutSeconds": 5000000 + number,
        "nodeSelector": {"pool": name},
        "tolerations": [{"key": name, "operator": "Exists"}],
    }
    for number, name in enumerate(STAGES)
}
"""Numbers above a million: Go prints those as 2e+06 when they pass through a float."""


@pytest.mark.parametrize("stage", STAGES)
def test_an_override_reaches_its_stage_everywhere(helm: Helm, stage: str) -> None:
    template = stage_templates(helm.objects({"stages": OVERRIDES}))[stage]
    wanted, number = OVERRIDES[stage], list(STAGES).index(stage)
    for side in ("requests", "limits"):
        amounts = template["container"]["resources"][side]
        assert amounts["cpu"] == str(wanted["cpu" if side == "requests" else "cpuLimit"])
        assert amounts["memory"] == f"{1000 + number}Mi"
        assert amounts["ephemeral-storage"] == f"{3000000 + number}Mi"
    attempts = STAGES[stage].retry.limit + 1
    assert ladder(template) == [1000 + number] + [2000000 + number] * (attempts - 1)
    assert template["activeDeadlineSeconds"] == wanted["timeoutSeconds"]
    assert template["nodeSelector"] == wanted["nodeSelector"] and template["tolerations"] == wanted["tolerations"]
    sizes = {v["name"]: v["emptyDir"].get("sizeLimit") for v in template["volumes"] if "emptyDir" in v}
    assert sizes == {"work": f"{3000000 + number}Mi", "tmp": f"{3000000 + number}Mi", "dshm": f"{100 + number}Mi"}


def test_an_override_leaves_the_other_stages_alone(helm: Helm) -> None:
    before, after = (stage_templates(helm.objects(values)) for values in ({}, {"stages": {"dvh": OVERRIDES["dvh"]}}))
    assert {name for name in STAGES if before[name] != after[name]} == {"dvh"}
    assert after["dvh"]["container"]["args"] == before["dvh"]["container"]["args"], "threads change numbers"


def test_one_setting_of_an_override_leaves_the_others_alone(helm: Helm) -> None:
    before, after = (stage_templates(helm.objects(v)) for v in ({}, {"stages": {"radiomics": {"memoryMiB": [512]}}}))
    assert set(ladder(after["radiomics"])) == {512}
    changed = after["radiomics"]["container"]["resources"]
    for side in ("requests", "limits"):
        changed[side]["memory"] = before["radiomics"]["container"]["resources"][side]["memory"]
    after["radiomics"]["podSpecPatch"] = before["radiomics"]["podSpecPatch"]
    assert after["radiomics"] == before["radiomics"]


def test_images_by_tag_digest_and_registry(helm: Helm) -> None:
    digest = f"sha256:{'5' * 64}"
    images = {
        "registry": "registry.example.org/rt/",
        "cpu": {"tag": "7"},
        "gpu": {"digest": digest, "tag": "8"},
        "pullPolicy": "Always",
        "pullSecrets": ["a", "b"],
    }
    objects = helm.objects({"images": images})
    cpu, gpu = "registry.example.org/rt/rtpipeline-cpu:7", f"registry.example.org/rt/rtpipeline-gpu@{digest}"
    for name, template in stage_templates(objects).items():
        assert template["container"]["image"] == (gpu if name in NETWORKS else cpu), name
        assert template["container"]["imagePullPolicy"] == "Always"
    for each in (each for each in objects if each["kind"] == "WorkflowTemplate"):
        assert each["metadata"]["annotations"]["rtpipeline/cpu-image"] == cpu
        assert each["metadata"]["annotations"]["rtpipeline/gpu-image"] == gpu
        assert each["spec"]["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


def test_networks_ask_for_the_named_resource_on_their_own_nodes(helm: Helm) -> None:
    values = {
        "gpu": {"resourceName": "nvidia.com/mig-1g.10gb", "count": 2, "runtimeClassName": "nvidia"},
        "pods": {"gpu": {"nodeSelector": {"gpu": "yes"}}, "cpu": {"nodeSelector": {"gpu": "no"}}},
    }
    for name, template in stage_templates(helm.objects(values)).items():
        limits = template["container"]["resources"]["limits"]
        patch = json.loads(template["podSpecPatch"])
        assert ("nvidia.com/mig-1g.10gb" in limits) == (name in NETWORKS) == ("runtimeClassName" in patch), name
        assert "nvidia.com/gpu" not in limits
        assert template["nodeSelector"] == {"gpu": "yes" if name in NETWORKS else "no"}
        assert ("tolerations" in template) == (name in NETWORKS)
    assert (
        limits is not None
        and stage_templates(helm.objects(values))["segmentation"]["container"]["resources"]["limits"][
            "nvidia.com/mig-1g.10gb"
        ]
        == "2"
    )


def test_an_expression_within_a_patch_keeps_its_signs(helm: Helm, tmp_path: Path) -> None:
    """JSON as Go likes to write it has `\\u0026\\u0026` for `&&`, which is no expression of Argo."""
    chart = tmp_path / "rtpipeline"
    shutil.copytree(CHART, chart)
    path = chart / "files" / "rtpipeline-aggregate.yaml"
    content, ladder_start = path.read_text(encoding="utf-8"), "{{=[4096,"
    assert ladder_start in content
    other = "{{=1 < 2 && 3 > 2 ? 7 : [4096,"
    path.write_text(content.replace(ladder_start, other), encoding="utf-8")
    aggregate = argo_specs(parsed(helm.template({}, chart=chart)))["rtpipeline-aggregate"]
    assert "".join(strings(aggregate)).count(other) == content.count(ladder_start)


def test_without_a_gpu_networks_ask_for_none(helm: Helm) -> None:
    for template in stage_templates(helm.objects({"gpu": {"count": 0}, "pods": {"gpu": {"tolerations": []}}})).values():
        assert "tolerations" not in template
        assert not [name for side in template["container"]["resources"].values() for name in side if "nvidia" in name]


@pytest.mark.parametrize(
    ("weights", "volume", "name"),
    [
        ({}, {"persistentVolumeClaim": {"claimName": "rtpipeline-weights", "readOnly": True}}, "rtpipeline-weights"),
        ({"name": "ours"}, {"persistentVolumeClaim": {"claimName": "rtpipeline-weights", "readOnly": True}}, "ours"),
        (
            {"kind": "existingClaim", "existingClaim": {"name": "nets", "subPath": "/v2/"}},
            {"persistentVolumeClaim": {"claimName": "nets", "readOnly": True}},
            "nets/v2",
        ),
        (
            {"kind": "image", "image": {"reference": "r/nets@sha256:1", "subPath": "v2"}},
            {"image": {"reference": "r/nets@sha256:1", "pullPolicy": "IfNotPresent"}},
            "r/nets@sha256:1/v2",
        ),
        ({"kind": "none"}, {"emptyDir": {}}, "none"),
    ],
    ids=["claim", "named", "existing", "image", "none"],
)
def test_weights_come_from_where_the_values_say(
    helm: Helm, weights: dict[str, Any], volume: dict[str, Any], name: str
) -> None:
    objects = helm.objects({"weights": weights})
    templates = stage_templates(objects)
    having = {stage for stage, t in templates.items() if any(v["name"] == "weights" for v in t["volumes"])}
    assert having == {"organize", *NETWORKS}
    for stage in having:
        [found] = [v for v in templates[stage]["volumes"] if v["name"] == "weights"]
        assert found == {"name": "weights", **volume}
        [mount] = [m for m in templates[stage]["container"]["volumeMounts"] if m["name"] == "weights"]
        assert mount["readOnly"] is True and mount.get("subPath") == ("v2" if name.endswith("/v2") else None)
    assert (
        named(objects, "WorkflowTemplate", "rtpipeline-courses")["metadata"]["annotations"]["rtpipeline/weights"]
        == name
    )
    claims = [each["metadata"]["name"] for each in objects if each["kind"] == "PersistentVolumeClaim"]
    assert claims == (["rtpipeline-weights"] if weights.get("kind", "claim") == "claim" else [])


def test_fetched_weights_are_named_after_what_is_fetched(helm: Helm) -> None:
    """Other files mean other results, so another name."""
    [entry] = FETCH["fetch"]["files"]
    both = [
        helm.objects({"weights": {"fetch": {"enabled": True, "files": [{**entry, **change}]}}})
        for change in ({}, {"sha256": "2" * 64})
    ]
    names = [
        named(objects, "WorkflowTemplate", "rtpipeline-courses")["metadata"]["annotations"]["rtpipeline/weights"]
        for objects in both
    ]
    assert len(set(names)) == 2
    assert json.loads(named(both[0], "ConfigMap", "rtpipeline-scripts")["data"]["fetch.json"])["files"] == [entry]


@pytest.mark.parametrize(
    "change",
    [
        {"weights": {"fetch": {"files": [{"url": "https://example.org/a.zip", "sha256": "2" * 64}]}}},
        {"weights": {"fetch": {"memory": "2Gi"}}},
        {"images": {"cpu": {"tag": "next"}}},
        {"pods": {"env": {"HTTPS_PROXY": "http://proxy:3128"}}},
    ],
    ids=["files", "memory", "image", "environment"],
)
def test_any_change_of_the_fetch_is_another_job(helm: Helm, change: dict[str, Any]) -> None:
    """Kubernetes refuses to change the pods of a Job: of the same name, the next `helm upgrade` would fail."""
    before = {"weights": FETCH}
    [first], [second] = (
        [each for each in helm.objects(values) if each["kind"] == "Job"] for values in (before, merged(before, change))
    )
    assert first["metadata"]["name"] != second["metadata"]["name"]


def environment(template: Object) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in template["container"]["env"]}


def test_an_environment_variable_of_the_values_wins_and_is_said_once(helm: Helm) -> None:
    """Helm applies on the server's side, which refuses a name that comes twice."""
    chosen = {"HOME": "/work", "AWS_DEFAULT_REGION": "eu-north-1", "HTTPS_PROXY": "http://proxy:3128"}
    objects = helm.objects({"pods": {"env": chosen}, "weights": FETCH})
    computing = {name: template["container"] for name, template in stage_templates(objects).items()}
    [job] = [each for each in objects if each["kind"] == "Job"]
    for container in [*computing.values(), *job["spec"]["template"]["spec"]["containers"]]:
        names = [each["name"] for each in container["env"]]
        assert len(names) == len(set(names))
        assert chosen.items() <= {each["name"]: each.get("value") for each in container["env"]}.items()


def test_only_readers_have_keys_and_those_read_only(helm: Helm) -> None:
    values = {
        "s3": {
            "readSecret": {"name": "ro", "accessKey": "user", "secretKey": "password"},
            "existingSecret": {"name": "rw"},
        }
    }
    objects = helm.objects(values)
    for name, template in stage_templates(objects).items():
        keys = {
            v["secretKeyRef"]["name"]: None
            for v in environment(template).values()
            if isinstance(v, dict) and "secretKeyRef" in v
        }
        assert list(keys) == (["ro"] if name in OPENERS else []), name
        assert '"rw"' not in json.dumps(template)
    found = environment(stage_templates(objects)["organize"])
    assert found["AWS_ACCESS_KEY_ID"]["secretKeyRef"]["key"] == "user"
    assert found["AWS_SECRET_ACCESS_KEY"]["secretKeyRef"]["key"] == "password"
    rt = yaml.safe_load(named(objects, "ConfigMap", "artifact-repositories")["data"]["rt"])
    assert rt["s3"]["accessKeySecret"] == {"name": "rw", "key": "accessKey"}


def test_with_the_instances_credentials_there_are_no_keys(helm: Helm) -> None:
    objects = helm.objects({"s3": {"instanceCredentials": True}})
    assert "AWS_ACCESS_KEY_ID" not in json.dumps(objects) and "rtpipeline-s3-read" not in json.dumps(objects)
    rt = yaml.safe_load(named(objects, "ConfigMap", "artifact-repositories")["data"]["rt"])
    assert rt["s3"]["useSDKCreds"] is True and "accessKeySecret" not in rt["s3"]


def test_the_authority_of_the_object_store_reaches_readers_and_argo(helm: Helm) -> None:
    objects = helm.objects({"s3": {"caSecret": {"name": "hospital-ca", "key": "root.pem"}}})
    for name, template in stage_templates(objects).items():
        assert ("AWS_CA_BUNDLE" in environment(template)) == (name in OPENERS), name
        if name in OPENERS:
            [mount] = [m for m in template["container"]["volumeMounts"] if m["name"] == "s3-ca"]
            [volume] = [v for v in template["volumes"] if v["name"] == "s3-ca"]
            assert volume["secret"] == {"secretName": "hospital-ca", "items": [{"key": "root.pem", "path": "ca.crt"}]}
            assert environment(template)["AWS_CA_BUNDLE"] == f"{mount['mountPath']}/ca.crt"
    rt = yaml.safe_load(named(objects, "ConfigMap", "artifact-repositories")["data"]["rt"])
    assert rt["s3"]["caSecret"] == {"name": "hospital-ca", "key": "root.pem"}


def test_the_secret_of_the_pseudonyms_is_a_file_of_the_readers(helm: Helm) -> None:
    templates = stage_templates(helm.objects({"pseudonyms": {"existingSecret": "mine", "key": "secret.txt"}}))
    for name, template in templates.items():
        found = [v["secret"] for v in template["volumes"] if v["name"] == "pseudonyms"]
        assert bool(found) == (name in READERS), name
        for secret in found:
            assert secret["secretName"] == "mine" and secret["items"] == [{"key": "secret.txt", "path": "secret"}]
            [mount] = [m for m in template["container"]["volumeMounts"] if m["name"] == "pseudonyms"]
            assert f"{mount['mountPath']}/secret" in template["container"]["args"]


def test_the_store_is_said_to_argo_and_to_the_stages_alike(helm: Helm) -> None:
    values = {"s3": {"endpoint": "http://s3.example.org:8333/", "bucket": "cohorts", "prefix": "/a/b/"}}
    objects = helm.objects(values)
    for name, spec in argo_specs(objects).items():
        given = {each["name"]: each.get("value") for each in spec["arguments"]["parameters"]}
        assert (given["prefix"], given["store"]) == ("a/b/", "s3://cohorts/a/b"), name
    rt = yaml.safe_load(named(objects, "ConfigMap", "artifact-repositories")["data"]["rt"])
    assert (rt["s3"]["endpoint"], rt["s3"]["insecure"], rt["s3"]["bucket"]) == ("s3.example.org:8333", True, "cohorts")
    assert rt["s3"]["keyFormat"].startswith("a/b/logs/{{workflow.creationTimestamp.Y}}/")
    assert named(objects, "ConfigMap", "rtpipeline-s3")["data"]["endpoint"] == "http://s3.example.org:8333"


def test_argos_own_containers_are_patched_or_left_alone(helm: Helm) -> None:
    executor = {"cpu": "50m", "cpuLimit": 2, "memory": "64Mi", "memoryLimit": "3Gi"}
    wanted = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "3Gi"}}
    for spec in argo_specs(helm.objects({"argo": {"executor": executor}})).values():
        for template in (each for each in spec["templates"] if "container" in each):
            patch = json.loads(template["podSpecPatch"])
            [init], [wait] = patch["initContainers"], [c for c in patch["containers"] if c["name"] == "wait"]
            assert init["resources"] == wait["resources"] == wanted
            assert init["securityContext"] == wait["securityContext"] == template["container"]["securityContext"]
    for spec in argo_specs(helm.objects({"argo": {"patchExecutor": False}})).values():
        for template in (each for each in spec["templates"] if "container" in each):
            patch = json.loads(template.get("podSpecPatch", "{}"))
            assert "initContainers" not in patch
            assert [c["name"] for c in patch.get("containers", [])] in (["main"], [])


def test_a_hidden_token_is_argos_alone(helm: Helm) -> None:
    objects = helm.objects({"argo": {"hideToken": True}, "discover": {"enabled": True}})
    specs = argo_specs(objects)
    discover = specs.pop("rtpipeline-discover")
    for spec in specs.values():
        assert spec["automountServiceAccountToken"] is False
        assert (
            spec["executor"]
            == {"serviceAccountName": spec["serviceAccountName"]}
            == {"serviceAccountName": "rtpipeline-pods"}
        )
    assert "automountServiceAccountToken" not in discover, "it submits"
    secret = named(objects, "Secret", "rtpipeline-pods.service-account-token")
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.name"] == "rtpipeline-pods"


def test_the_discovery_is_off_until_it_is_asked_for(helm: Helm) -> None:
    assert "rtpipeline-discover" not in argo_specs(helm.objects({}))
    values = {
        "discover": {
            "enabled": True,
            "schedule": "5 4 * * *",
            "timezone": "Europe/Berlin",
            "inbox": "/new/",
            "configuration": "lung",
        }
    }
    objects = helm.objects(values)
    spec = named(objects, "CronWorkflow", "rtpipeline-discover")["spec"]
    assert (spec["schedules"], spec["timezone"], spec["suspend"]) == (["5 4 * * *"], "Europe/Berlin", False)
    given = {each["name"]: each["value"] for each in spec["workflowSpec"]["arguments"]["parameters"]}
    assert given["inbox"] == "s3://cohorts/new" and given["configuration"] == "lung"
    assert spec["workflowSpec"]["serviceAccountName"] == "rtpipeline-submitter"
    bound = named(objects, "RoleBinding", "rtpipeline-pods")["subjects"]
    assert {subject["name"] for subject in bound} == {"rtpipeline-pods", "rtpipeline-submitter"}


def test_limits_of_whole_workflows(helm: Helm) -> None:
    chosen = {
        "parallelism": 7,
        "courses": 3,
        "deadlineSeconds": 2000000,
        "secondsAfterSuccess": 1,
        "secondsAfterFailure": 2,
    }
    for name, spec in argo_specs(helm.objects({"workflows": chosen})).items():
        assert spec["parallelism"] == 7 and spec["activeDeadlineSeconds"] == 2000000, name
        assert spec["ttlStrategy"] == {"secondsAfterSuccess": 1, "secondsAfterFailure": 2}
        assert {t["parallelism"] for t in spec["templates"] if "parallelism" in t} <= {3}
    before = [t for spec in argo_specs(from_files()).values() for t in spec["templates"] if "parallelism" in t]
    assert before, "the fan-out over courses is limited"


def test_disturbed_stages_are_those_that_take_hours() -> None:
    hours = {name for name, stage in STAGES.items() if stage.scope == "course" and stage.resources.timeout_s > 3600}
    assert set(defaults()["podDisruptionBudget"]["stages"]) == hours

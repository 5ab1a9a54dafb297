"""Pods: everything of the stage table arrives, and nothing that the restricted level of pod security forbids."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import workflows
from rtpipeline.errors import ConfigError
from rtpipeline.stages import STAGES, Resources, Retry, Stage
from tests.workflows.templates.argo_model import filled
from workflows.containers import Options
from workflows.render import objects

Object = dict[str, Any]
PACKAGE = Path(workflows.__file__).parent
GENERATOR = (
    "strict",
    "names",
    "expressions",
    "artifacts",
    "containers",
    "spec",
    "course",
    "aggregate",
    "cohort",
    "render",
)


def patch_of(template: Object) -> dict[str, Object]:
    patch = json.loads(template["podSpecPatch"])
    return {c["name"]: c for kind in ("initContainers", "containers") for c in patch.get(kind, [])}


def volumes_of(template: Object) -> dict[str, Object]:
    return {volume["name"]: volume for volume in template["volumes"]}


def environment_of(template: Object) -> dict[str, Object]:
    return {variable["name"]: variable for variable in template["container"]["env"]}


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda s: s.name)
class TestStage:
    def test_gets_what_the_table_says(self, stage: Stage, stage_templates: dict[str, Object]) -> None:
        template, need = stage_templates[stage.name], stage.resources
        resources = template["container"]["resources"]

        assert resources["requests"] == resources["limits"]
        assert float(resources["limits"]["cpu"]) == need.cpu
        assert resources["limits"]["memory"] == f"{need.memory_mib[0]}Mi"
        assert resources["limits"]["ephemeral-storage"] == f"{need.disk_mib}Mi"
        assert int(resources["limits"].get("nvidia.com/gpu", 0)) == need.gpu
        assert template["activeDeadlineSeconds"] == need.timeout_s
        assert volumes_of(template)["dshm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": f"{need.shm_mib}Mi"}
        assert template["container"]["image"] == getattr(Options(), f"{stage.image}_image")
        assert template["metadata"]["labels"] == {"rtpipeline/stage": stage.name, "rtpipeline/image": stage.image}

    def test_holds_its_pool(self, stage: Stage, stage_templates: dict[str, Object]) -> None:
        found = stage_templates[stage.name].get("synchronization", {}).get("semaphores", [])

        keys = [each["configMapKeyRef"] for each in found]
        assert keys == ([{"name": "rtpipeline-semaphores", "key": stage.pool}] if stage.pool else [])

    def test_each_attempt_has_its_rung_of_memory(self, stage: Stage, stage_templates: dict[str, Object]) -> None:
        template = stage_templates[stage.name]
        resources = patch_of(template)["main"]["resources"]
        attempts = template["retryStrategy"]["limit"] + 1

        for attempt in range(attempts):
            rung = stage.resources.memory_mib[min(attempt, len(stage.resources.memory_mib) - 1)]
            for side in ("requests", "limits"):
                assert filled(resources[side]["memory"], {"retries": str(attempt)}) == f"{rung}Mi"
        with pytest.raises(IndexError):
            filled(resources["limits"]["memory"], {"retries": str(attempts)})

    def test_is_tried_again_as_the_table_says(self, stage: Stage, stage_templates: dict[str, Object]) -> None:
        retry = stage_templates[stage.name]["retryStrategy"]

        assert retry["limit"] == stage.retry.limit
        assert float(retry["backoff"]["duration"].removesuffix("s")) == stage.retry.backoff_s
        assert retry["backoff"]["factor"] == stage.retry.factor

    def test_of_the_bucket_they_may_read_what_they_have_to_and_only_readers_know_the_pseudonyms(
        self, stage: Stage, stage_templates: dict[str, Object]
    ) -> None:
        template = stage_templates[stage.name]
        secrets = re.findall(
            r'"(?:name|secretName)": "(rtpipeline-s3[\w-]*|rtpipeline-pseudonyms)"', json.dumps(template)
        )

        assert set(secrets) == (
            ({"rtpipeline-s3-read", "rtpipeline-s3"} if stage.opens_store else set())
            | ({"rtpipeline-pseudonyms"} if stage.reader else set())
        )
        for name, variable in environment_of(template).items():
            source = variable.get("valueFrom", {})
            assert source.get("secretKeyRef", {"name": "rtpipeline-s3-read"})["name"] == "rtpipeline-s3-read", name

    def test_passes_the_restricted_level_of_pod_security(
        self, stage: Stage, stage_templates: dict[str, Object]
    ) -> None:
        assert_restricted(stage_templates[stage.name])

    def test_writes_only_to_volumes_of_its_own(self, stage: Stage, stage_templates: dict[str, Object]) -> None:
        template = stage_templates[stage.name]
        volumes = volumes_of(template)
        writable = {m["mountPath"] for m in template["container"]["volumeMounts"] if not m.get("readOnly")}

        assert writable == {"/work", "/tmp", "/dev/shm"}
        assert all(
            "emptyDir" in volumes[m["name"]] for m in template["container"]["volumeMounts"] if not m.get("readOnly")
        )
        assert all("sizeLimit" in volume["emptyDir"] for volume in volumes.values() if "emptyDir" in volume)

    def test_all_artifacts_lie_on_the_work_volume_whole_and_optional(
        self, stage: Stage, stage_templates: dict[str, Object]
    ) -> None:
        template = stage_templates[stage.name]
        for artifact in template["inputs"]["artifacts"] + template["outputs"]["artifacts"]:
            assert artifact["path"].startswith("/work/")
            assert artifact["archive"] == {"none": {}} and artifact["optional"] is True
            assert set(artifact["s3"]) == {"key"}, "endpoint, bucket and secrets are the repository's"
        for artifact in template["inputs"]["artifacts"]:
            assert not artifact["s3"]["key"].endswith("/"), "some stores answer that with an empty object"

    def test_knows_the_weights_only_where_networks_or_keys_need_them(
        self, stage: Stage, stage_templates: dict[str, Object]
    ) -> None:
        template = stage_templates[stage.name]
        mounts = [m for m in template["container"]["volumeMounts"] if m["mountPath"] == "/weights"]

        assert bool(mounts) == (stage.image == "gpu" or stage.digest == "listing")
        assert all(m["readOnly"] for m in mounts)


def assert_restricted(template: Object) -> None:
    """Kubernetes' pod security standard, level restricted, and a read-only root file system."""
    assert template["securityContext"]["runAsNonRoot"] is True
    assert template["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    patched = {name: c["securityContext"] for name, c in patch_of(template).items() if name in ("init", "wait")}
    assert set(patched) == {"init", "wait"}
    for context in (template["container"]["securityContext"], *patched.values()):
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["runAsNonRoot"] is True and context["runAsUser"] == 8737
        assert context["readOnlyRootFilesystem"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_only_what_submits_may_write_the_bucket(templates: dict[str, dict[str, Object]]) -> None:
    """Everything else leaves that to Argo's own containers."""
    holders = {
        template["name"]
        for found in templates.values()
        for template in found.values()
        for variable in template.get("container", {}).get("env", [])
        if variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "rtpipeline-s3"
    }

    assert holders == {"discover"}


def test_pods_of_no_stage_are_restricted_too(templates: dict[str, dict[str, Object]]) -> None:
    for name, template in (("rtpipeline-aggregate", "verdict"), ("rtpipeline-discover", "discover")):
        assert_restricted(templates[name][template])


def test_without_the_patch_argos_own_containers_are_left_alone() -> None:
    for found in objects(options=Options(patch_executor=False)).values():
        assert '\\"init\\"' not in json.dumps(found) and '\\"wait\\"' not in json.dumps(found)


def test_every_command_is_given_so_that_no_registry_is_asked(templates: dict[str, dict[str, Object]]) -> None:
    containers = [t["container"] for found in templates.values() for t in found.values() if "container" in t]

    assert containers and all(c["command"] for c in containers)


def test_volumes_have_names_of_ours_and_none_that_are_made_up(templates: dict[str, dict[str, Object]]) -> None:
    found = {v["name"] for each in templates.values() for t in each.values() for v in t.get("volumes", [])}

    assert found == {"work", "tmp", "dshm", "pseudonyms", "weights"}


class TestRetryExpression:
    """The truth table that was measured on real pods; its operators say the same in Python, `matches` apart."""

    def again(self, template: Object, *, status: str = "Failed", code: str = "1", message: str = "") -> bool:
        text = template["retryStrategy"]["expression"]
        [pattern] = re.findall(r"lastRetry\.message matches '([^']*)'", text)
        text = text.replace(f"lastRetry.message matches '{pattern}'", "matched")
        text = text.replace("lastRetry.message contains 'deadline'", "('deadline' in message)")
        text = text.replace("lastRetry.status", "status").replace("lastRetry.exitCode", "code")
        known = {"status": status, "code": code, "message": message, "matched": bool(re.search(pattern, message))}
        return bool(eval(text, {"__builtins__": {}}, known))

    @pytest.mark.parametrize(
        ("expected", "how"),
        [
            (True, {"code": "75"}),
            (True, {"code": "137", "message": "main: OOMKilled (exit code 137)"}),
            (True, {"code": "3", "message": "main: OOMKilled (exit code 3)"}),
            (True, {"code": "143"}),
            (True, {"status": "Error", "code": "-1", "message": "pod deleted"}),
            (True, {"code": "-1", "message": "The node was low on resource: ephemeral-storage."}),
            (False, {"code": "137", "message": "Pod was active on the node longer than the specified deadline"}),
            (False, {"code": "3", "message": "main: Error (exit code 3)"}),
            (False, {"code": "2", "message": "main: Error (exit code 2)"}),
            (False, {"code": "70", "message": "main: Error (exit code 70)"}),
        ],
    )
    def test_says_again_for_what_may_pass_only(
        self, expected: bool, how: dict[str, str], stage_templates: dict[str, Object]
    ) -> None:
        assert {self.again(template, **how) for template in stage_templates.values()} == {expected}


NEW = Stage(
    "margins", "course", "course", None, 1,
    Resources(cpu=1.5, threads=1, memory_mib=(512, 768), timeout_s=77, gpu=2, shm_mib=96, disk_mib=333),
    needs=("structures",), uses=("radiomics",), image="gpu", pool="margin_workers", reader=True,
    retry=Retry(limit=5, backoff_s=4, factor=3),
)  # fmt: skip


@pytest.fixture(scope="module")
def made() -> dict[str, Object]:
    """The templates of courses with a stage more in the table."""
    found = objects({**STAGES, NEW.name: NEW})
    return {t["name"]: t for t in found["rtpipeline-courses"]["spec"]["templates"]}


class TestAnotherStage:
    """A stage added to the table needs no other line."""

    def test_appears_with_all_that_the_table_says(self, made: dict[str, Object]) -> None:
        template = made["margins"]

        assert template["container"]["args"][:2] == ["pod", "margins"]
        assert template["container"]["resources"]["limits"] == {
            "cpu": "1.5",
            "memory": "512Mi",
            "ephemeral-storage": "333Mi",
            "nvidia.com/gpu": "2",
        }
        assert "[512,768,768,768,768,768][asInt(retries)]" in template["podSpecPatch"]
        assert template["retryStrategy"]["limit"] == 5
        assert template["activeDeadlineSeconds"] == 77
        assert template["synchronization"]["semaphores"][0]["configMapKeyRef"]["key"] == "margin_workers"
        assert "--secret-file" in template["container"]["args"]
        assert {"/work/in/structures", "/work/in/radiomics"} < {a["path"] for a in template["inputs"]["artifacts"]}

    def test_waits_for_what_it_needs_and_uses_at_the_next_place_of_the_mask(self, made: dict[str, Object]) -> None:
        [task] = [t for t in made["course"]["dag"]["tasks"] if t["name"] == "margins"]

        assert task["depends"] == (
            "(structures.Succeeded || structures.Skipped) && (radiomics.Succeeded || radiomics.Skipped || "
            "radiomics.Failed || radiomics.Errored || radiomics.Omitted)"
        )
        assert "[3][9:10] == '1'" in task["when"]
        assert "margins" in made["course"]["dag"]["target"].split()


def test_a_backoff_that_argo_cannot_take_is_refused() -> None:
    odd = replace(STAGES["dvh"], retry=Retry(factor=1.5))

    with pytest.raises(ConfigError, match=r"dvh.*1\.5"):
        objects({**STAGES, "dvh": odd})


def test_a_table_without_a_stage_that_finds_the_courses_is_refused() -> None:
    with pytest.raises(ConfigError, match="listing"):
        objects({name: stage for name, stage in STAGES.items() if stage.digest != "listing"})


@pytest.mark.parametrize("module", GENERATOR)
def test_no_stage_is_named_in_the_generator(module: str) -> None:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    words = {
        word
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        for word in re.findall(r"[a-z_]+", node.value.replace("-", "_"))
    }

    assert not words & set(STAGES)

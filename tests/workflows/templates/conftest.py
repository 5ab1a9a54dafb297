"""The rendered objects, once."""

from __future__ import annotations

from typing import Any

import pytest

from workflows.render import objects

Object = dict[str, Any]


@pytest.fixture(scope="session")
def rendered_objects() -> dict[str, Object]:
    """By name."""
    return objects()


@pytest.fixture(scope="session")
def templates(rendered_objects: dict[str, Object]) -> dict[str, dict[str, Object]]:
    """Object name to its templates by name."""
    return {
        name: {template["name"]: template for template in found["spec"].get("workflowSpec", found["spec"])["templates"]}
        for name, found in rendered_objects.items()
    }


@pytest.fixture(scope="session")
def stage_templates(templates: dict[str, dict[str, Object]]) -> dict[str, Object]:
    """The container template of each stage, by the stage's name."""
    return {
        template["metadata"]["labels"]["rtpipeline/stage"]: template
        for found in templates.values()
        for template in found.values()
        if "rtpipeline/stage" in template.get("metadata", {}).get("labels", {})
    }

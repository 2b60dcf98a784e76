"""The arguments of the Serve application, in the manifest and in the documentation."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_tools.config import from_mapping
from data_tools.errors import UserError
from launch.service.replica import Arguments

ROOT = Path(__file__).parents[4]


def of_manifest() -> Any:
    """What `cluster/kubernetes/rayservice.yaml` has."""
    return yaml.safe_load((ROOT / "cluster" / "kubernetes" / "rayservice.yaml").read_text())["spec"]["serveConfigV2"]


def of_documentation() -> Any:
    """What docs/serve.md shows."""
    (block,) = re.findall(r"```yaml\n(serveConfigV2.*?)```", (ROOT / "docs" / "serve.md").read_text(), re.DOTALL)
    return yaml.safe_load(block)["serveConfigV2"]


@pytest.mark.parametrize("source", [of_manifest, of_documentation])
def test_what_is_shown_is_accepted(source: Any) -> None:
    (application,) = yaml.safe_load(source())["applications"]
    module, _, name = application["import_path"].partition(":")
    assert f"def {name}(" in (ROOT / (module.replace(".", "/") + ".py")).read_text()
    given = from_mapping(Arguments, application["args"], where="args")
    assert given.run.startswith("/")


@pytest.mark.parametrize(
    "arguments",
    [{}, {"run": "r", "replicas": 0}, {"run": "r", "repliques": 2}, {"run": "r", "limits": {"queue": 0}},
     {"run": "r", "limits": {"bytes": 1}}, {"run": "r", "limits": {"pages": "many"}}],
)  # fmt: skip
def test_what_is_wrong_is_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        from_mapping(Arguments, arguments, where="args")

"""Extracts the schemas of ray.io/v1 from KubeRay's published CRDs, compact enough to lie in a repository.

    python tests/cluster/crds/extract.py KUBERAY v1.5.1 v1.7.0     KUBERAY: a clone of ray-project/kuberay

Writes `kuberay-TAG.json` beside this file: {"source", "licence", "kinds": {kind: schema of spec}, "$defs"}, without
descriptions. Equal parts (the pod template occurs nine times) are written once. Objects take no unknown fields.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

KINDS = {"RayCluster": "rayclusters", "RayJob": "rayjobs", "RayService": "rayservices"}
KEPT = ("type", "enum", "pattern", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength", "required")
SHARED_FROM = 200
"""Length of a part's JSON from which on it is written once and referred to."""


def main(clone: str, tags: list[str]) -> None:
    for tag in tags:
        shared: dict[str, Any] = {}
        kinds = {kind: compact(spec_of(clone, tag, name), shared) for kind, name in KINDS.items()}
        found = {
            "source": f"github.com/ray-project/kuberay, {tag}",
            "licence": "Apache-2.0",
            "kinds": kinds,
            "$defs": shared,
        }
        path = Path(__file__).with_name(f"kuberay-{tag}.json")
        path.write_text(json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n")
        sys.stdout.write(f"{path}: {path.stat().st_size} bytes\n")


def spec_of(clone: str, tag: str, name: str) -> dict[str, Any]:
    """The schema of `spec` in version v1 of a published CRD."""
    path = f"{tag}:ray-operator/config/crd/bases/ray.io_{name}.yaml"
    text = subprocess.run(["git", "-C", clone, "show", path], check=True, capture_output=True, text=True).stdout
    (version,) = [each for each in yaml.safe_load(text)["spec"]["versions"] if each["name"] == "v1"]
    return dict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])


def compact(schema: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """The schema as plain JSON Schema, strict about unknown fields; large parts go to `shared`."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    found: dict[str, Any] = {key: schema[key] for key in KEPT if key in schema}
    if "properties" in schema:
        found["properties"] = {name: compact(field, shared) for name, field in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found[key] = compact(schema[key], shared)
    text = json.dumps(found, sort_keys=True)
    if len(text) < SHARED_FROM:
        return found
    name = hashlib.sha256(text.encode()).hexdigest()[:8]
    shared[name] = found
    return {"$ref": f"#/$defs/{name}"}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

"""The CRDs as the repository has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
Schema = dict[str, Any]


def documents(folder: str) -> list[dict[str, Any]]:
    """All objects of a folder of manifests."""
    files = sorted((MANIFESTS / folder).glob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]


def crd(plural: str) -> dict[str, Any]:
    """One CustomResourceDefinition."""
    found: dict[str, Any] = yaml.safe_load((MANIFESTS / "crds" / f"{plural}.yaml").read_text())
    return found


def schema(plural: str, part: str) -> Schema:
    """The schema of ``spec`` or ``status``."""
    found: Schema = crd(plural)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return found


def fields(node: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every field below a schema, as ``parameters.scale.step`` and ``attempts[].action``."""
    for name, child in node.get("properties", {}).items():
        yield f"{path}{name}", child
        yield from fields(child, f"{path}{name}.")
    if "items" in node:
        yield from fields(node["items"], f"{path.removesuffix('.')}[].")

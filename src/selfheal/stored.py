"""How an ensemble is written down."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from selfheal.artefact import Manifest
from selfheal.calibration import Reference
from selfheal.protocol import ModelInfo

KIND = "ensemble"

StoredReferences = dict[str, tuple[float, float, tuple[float, ...]]]


class StoredEnsemble(Manifest):
    """What the calibration learned, beside the general manifest."""

    kind: str = KIND
    names: tuple[str, ...]
    step: float
    workloads: tuple[str, ...]
    info: ModelInfo
    members: tuple[str, ...]
    references: dict[str, StoredReferences]
    recent: dict[str, StoredReferences]
    calibrated: dict[str, tuple[int, int]]
    weights: tuple[float, ...]
    bias: float
    settings: dict[str, float]


def stored(known: Mapping[str, Mapping[str, Reference]]) -> dict[str, StoredReferences]:
    """References by workload and detector, for a manifest."""
    return {
        workload: {name: (r.middle, r.tail, tuple(r.body.tolist())) for name, r in found.items()}
        for workload, found in known.items()
    }


def restored(known: Mapping[str, StoredReferences]) -> dict[str, dict[str, Reference]]:
    """References from a manifest."""
    return {
        workload: {name: Reference(m, t, np.array(body)) for name, (m, t, body) in found.items()}
        for workload, found in known.items()
    }

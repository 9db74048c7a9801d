"""From a workload and all that belongs to it to the facts that Kubernetes reports about it. Pure."""

from __future__ import annotations

from datetime import datetime

from controller.model import Resource, Symptom, Workload


def symptoms(workload: Workload, now: datetime) -> tuple[Symptom, ...]:
    """All symptoms of a workload, the most telling first: causes before their consequences."""
    raise NotImplementedError


def might_be_sick(resource: Resource) -> bool:
    """Whether one object of a watch event (pod, workload) is worth a closer look; cheap, and never misses a symptom."""
    raise NotImplementedError

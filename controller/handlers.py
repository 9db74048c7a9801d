"""kopf's decorators and nothing else: every event goes to the runtime, which is kopf's memo."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf

from controller.runtime import Runtime
from selfheal.errors import PermanentError
from selfheal.policy import GROUP, VERSION

_CHUNK = 50  # objects of a list at once: all pods of a cluster as text and as objects are tens of megabytes
_IDLE = 0.5  # seconds until kopf lets go of an object that it has told of; five keep all of a long list


def run(runtime: Runtime, liveness_port: int) -> None:
    """Watch the whole cluster until a signal ends it."""
    liveness = f"http://0.0.0.0:{liveness_port}/healthz" if liveness_port else None
    kopf.run(memo=runtime, clusterwide=True, standalone=True, liveness_endpoint=liveness)


@kopf.on.startup(backoff=5)
async def _start(memo: Runtime, settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False  # our own Events say more, and say it once
    settings.scanning.disabled = True  # our CRDs are there before we start
    settings.watching.chunk_size = _CHUNK
    settings.queueing.idle_timeout = _IDLE
    try:
        await asyncio.to_thread(memo.start)
    except PermanentError as error:  # kopf tries everything else again
        raise kopf.PermanentError(str(error)) from error


@kopf.on.cleanup()
async def _stop(memo: Runtime, **_: Any) -> None:
    await asyncio.to_thread(memo.stop)


@kopf.on.event("v1", "pods")
@kopf.on.event("apps", "v1", "deployments")
@kopf.on.event("apps", "v1", "statefulsets")
@kopf.on.event("apps", "v1", "daemonsets")
@kopf.on.event("batch", "v1", "jobs")
@kopf.on.event("batch", "v1", "cronjobs")
@kopf.on.event("v1", "namespaces")
@kopf.on.event(GROUP, VERSION, "selfhealingpolicies")
@kopf.on.event(GROUP, VERSION, "remediations")
@kopf.on.event(GROUP, VERSION, "remediationapprovals")
@kopf.on.event(GROUP, VERSION, "healingconfigs")
async def _observe(memo: Runtime, event: kopf.RawEvent, resource: kopf.Resource, **_: Any) -> None:
    memo.observe(resource.kind or "", event["type"], dict(event["object"]))

"""The stage of a healthy day: a shop on a simulated cluster, days of metrics, a model, and what people do to it all."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.client import Client, Resource, answers
from bench.cluster import ApiCluster, Say
from bench.controller.timeshift import TimeShift
from bench.controller.town import free_port
from bench.history import DAYS, LEVELS, write_history
from bench.product import base_env
from bench.scenarios.objects import container, opt_in, path, policy, thing, workload
from bench.scenarios.stage import ACCOUNT, SYSTEM, install
from bench.speed.endpoint import endpoint
from selfheal.ensemble import Ensemble
from selfheal.errors import Unavailable
from selfheal.training import client, collect_windows

NAMESPACE = "shop"
STEP = 60
CONFIDENCE = 0.85
"""Threshold of all policies: the default."""
TICK = 2.0
"""Seconds between two looks of the controller."""

_DAY = 86_400.0
_GAPS = ((2.0, 4), (6.5, 12), (13.2, 35))
"""Hours of the day at which nothing is scraped, and for how many minutes."""
_REPORTS = "reports"
_PODS = path("Pod", NAMESPACE)
_POLICIES = (
    ("CrashLoopBackOff", "rollback"),
    ("OOMKilled", "adjust-resources"),
    ("ImagePullBackOff", "rollback"),
    ("ConfigError", "rollback"),
    ("ProbeFailure", "restart"),
    ("RolloutStuck", "rollback"),
    ("PodPending", "rollback"),
    ("JobFailed", "notify-only"),
    ("MemoryLeak", "restart"),
    ("CPUThrottling", "adjust-resources"),
    ("StorageExhaustion", "notify-only"),
    ("MetricAnomaly", "scale"),
)


@dataclass
class Day:
    """The stage of one day.

    Attributes:
        cluster: Whose pods kwok plays.
        client: As administrator.
        folder: For files.
        say: Told what happens.
        minutes: How long the day takes.
        start: Seconds since 1970 at which its metrics begin.
    """

    cluster: ApiCluster
    client: Client
    folder: Path
    say: Say
    minutes: float
    start: float
    begun: float = 0.0
    events: Counter[str] = field(default_factory=Counter)

    def hour(self) -> float:
        """Of the day that plays: 0 to 24."""
        passed = time.monotonic() - self.begun if self.begun else 0.0
        return min(24.0, 24 * passed / (60 * self.minutes))

    def moment(self) -> float:
        """Seconds since 1970 that the metrics are read at."""
        return self.start + self.hour() / 24 * _DAY

    # Before it.

    def furnish(self) -> None:
        """The shop, a nightly job, an autoscaler, and a policy for every type of anomaly."""
        install(self.cluster)
        self.cluster.apply(*opt_in(NAMESPACE))
        names = [(name, level.replicas) for name, level in LEVELS.items()]
        shop = [workload(name, replicas=count) for name, count in [*names, (_REPORTS, 1)]]
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"}
        cpu = {
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
        }
        scaler = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 8, "metrics": [cpu]}
        body = {"restartPolicy": "Never", "containers": [container("exit 0")]}
        nightly = {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": body}}}}
        policies = [
            thing("SelfHealingPolicy", kind.lower(), spec=policy(kind, action, confidenceThreshold=CONFIDENCE))
            for kind, action in _POLICIES
        ]
        for one in [
            *shop,
            thing("HorizontalPodAutoscaler", "frontend", spec=scaler),
            thing("CronJob", "nightly", spec=nightly),
            *policies,
        ]:
            one["metadata"]["namespace"] = NAMESPACE
            self.cluster.apply(one)

    def past(self, seed: int) -> Path:
        """The days before and the day itself as OpenMetrics, without what nobody scraped."""
        whole, scraped = self.folder / "whole.om", self.folder / "scraped.om"
        write_history(whole, self.start + _DAY, days=DAYS + 1, step=STEP, seed=seed)
        gaps = [(self.start + hour * 3600, self.start + hour * 3600 + 60 * length) for hour, length in _GAPS]
        with whole.open() as lines, scraped.open("w") as out:
            out.writelines(line for line in lines if line.startswith("#") or not _falls(line, gaps))
        whole.unlink()
        self.events["scrape gap"] = len(gaps)
        return scraped

    def database(self, text: Path) -> list[str]:
        """Blocks for a real Prometheus; the command that serves them."""
        data, config = self.folder / "tsdb", self.folder / "prometheus.yml"
        make = ["promtool", "tsdb", "create-blocks-from", "--max-block-duration=1440h", "openmetrics", "--quiet"]
        if shutil.which(make[0]) is None:
            raise Unavailable("prometheus and promtool are missing: apt-get install prometheus")
        subprocess.run([*make, str(text), str(data)], check=True, capture_output=True)
        config.write_text("scrape_configs: []\n")
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}"]
        return [*command, "--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{free_port()}"]

    def learn(self, prometheus: str) -> Path:
        """A model of the days before."""
        end = datetime.fromtimestamp(self.start, UTC).isoformat()
        windows = collect_windows(client(prometheus), NAMESPACE, end, DAYS * 24, STEP, self.folder / "windows").windows
        model = self.folder / "model"
        Ensemble.fit(windows).save(model)
        return model

    def control(self, url: str) -> None:
        """Start the controller as its ServiceAccount, and wait until it leads."""
        account = self.cluster.service_account_kubeconfig(SYSTEM, ACCOUNT, duration="8h")
        settings = {
            "KUBECONFIG": str(account),
            "SELFHEAL_PROMETHEUS_URL": url,
            "SELFHEAL_ENDPOINT_URL": url,
            "SELFHEAL_TICK_SECONDS": f"{TICK:g}",
            "SELFHEAL_METRICS_PORT": "0",
            "SELFHEAL_LIVENESS_PORT": "0",
        }
        log, processes = self.cluster.plane.state.logs / "controller.log", self.cluster.plane.processes
        processes.start("controller", [sys.executable, "-m", "controller"], base_env() | settings)
        processes.wait("controller", lambda: '"message": "leading"' in log.read_text(), seconds=90)

    # During it, each as people or Kubernetes do it.

    def rollout(self, name: str) -> None:
        """A new revision that is as good as the old one."""
        release = {"containers": [{"name": "app", "env": [{"name": "RELEASE", "value": f"{self.hour():.2f}"}]}]}
        self.client.merge(
            path("Deployment", NAMESPACE, name), {"spec": {"template": {"spec": release}}}, strategic=True
        )

    def swing(self, replicas: int) -> None:
        """What a HorizontalPodAutoscaler writes when the traffic changes."""
        self.client.merge(path("Deployment", NAMESPACE, "frontend") + "/scale", {"spec": {"replicas": replicas}})

    def nightly_job(self) -> None:
        """A CronJob's Job that ends well; we are the kubelet, for kwok lets pods run on."""
        name = f"nightly-{int(self.hour() * 100)}"
        self.cluster.kubectl("create", "job", name, "--from=cronjob/nightly", "-n", NAMESPACE)
        self.until(lambda: bool(self.pods(f"job-name={name}")), "the nightly job's pod")
        for pod in self.pods(f"job-name={name}"):
            ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
            status = {"name": "app", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": ended}
            body = {"status": {"phase": "Succeeded", "containerStatuses": [status]}}
            self.client.merge(f"{_PODS}/{pod['metadata']['name']}/status", body)

    def lose_a_pod(self, name: str) -> None:
        """A node was drained, or somebody deleted a pod."""
        for pod in self.pods(f"app={name}")[:1]:
            self.client.delete(f"{_PODS}/{pod['metadata']['name']}")

    def restart_once(self, name: str) -> None:
        """A container ended and is back: once is no pattern."""
        for pod in self.pods(f"app={name}")[:1]:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            last = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": now, "finishedAt": now}}
            (status,) = pod["status"]["containerStatuses"]
            changed = status | {"restartCount": 1, "lastState": last, "state": {"running": {"startedAt": now}}}
            where = f"{_PODS}/{pod['metadata']['name']}/status"
            self.client.merge(where, {"status": {"containerStatuses": [changed]}})

    def night_off(self, replicas: int) -> None:
        """Somebody sends a workload to sleep, and says so; or wakes it, in two commands."""
        where = path("Deployment", NAMESPACE, _REPORTS)
        mark = "night" if replicas == 0 else None
        self.client.merge(where, {"metadata": {"annotations": {"aiops.example.com/scaled-to-zero": mark}}})
        time.sleep(TICK)
        self.client.merge(f"{where}/scale", {"spec": {"replicas": replicas}})

    def configure(self) -> None:
        """A ConfigMap changes."""
        self.cluster.apply(thing("ConfigMap", "daily", data={"hour": f"{self.hour():.1f}"}) | _here("daily"))

    def pods(self, label: str) -> list[Resource]:
        """Those with a label that are not on their way out."""
        found = self.client.items(_PODS, labelSelector=label)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for the cluster to get there."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise Unavailable(f"{what} is not there after {seconds:.0f} s")
            time.sleep(0.2)


def _here(name: str) -> Resource:
    return {"metadata": {"name": name, "namespace": NAMESPACE}}


def _falls(line: str, gaps: Sequence[tuple[float, float]]) -> bool:
    moment = float(line.rsplit(" ", 1)[1])
    return any(first <= moment < last for first, last in gaps)


@dataclass
class Servers:
    """Prometheus and the endpoint, which are restarted in the course of the day.

    Attributes:
        day: The stage.
        command: Of Prometheus.
        model: Folder.
    """

    day: Day
    command: list[str]
    model: Path
    _endpoint: ExitStack = field(default_factory=ExitStack)

    @property
    def prometheus(self) -> str:
        """Its base URL; the port stays."""
        return "http://" + self.command[-1].partition("=")[2]

    def begin_prometheus(self) -> None:
        """Start it and wait until it answers."""
        processes = self.day.cluster.plane.processes
        processes.start("prometheus", self.command)
        processes.wait("prometheus", lambda: answers(f"{self.prometheus}/-/ready"))

    def restart_prometheus(self) -> None:
        """It is away for two looks of the controller."""
        self.day.cluster.plane.processes.stop("prometheus", seconds=30)
        time.sleep(2 * TICK)
        self.begin_prometheus()

    def begin_endpoint(self) -> str:
        """Start it; its base URL."""
        found = self._endpoint.enter_context(endpoint(self.model, self.day.folder / "endpoint.log"))
        return f"http://127.0.0.1:{found.port}"

    def restart_endpoint(self, shift: TimeShift) -> None:
        """It is away until a new one is ready."""
        self._endpoint.close()
        self._endpoint = ExitStack()
        shift.endpoint = self.begin_endpoint()

    def stop(self) -> None:
        """End both."""
        self._endpoint.close()

"""History from Prometheus, as windows by workload."""

from kfp import dsl

from components.base import component


@component
def collect(
    prometheus_url: str,
    token_file: str,
    ca_file: str,
    namespaces: str,
    end: str,
    history_hours: float,
    step_seconds: float,
    windows: dsl.Output[dsl.Dataset],
) -> int:
    """Collect the history of all workloads in the chosen namespaces.

    Args:
        prometheus_url: Of Prometheus or a Thanos querier.
        token_file: Holds a bearer token; the mounted secret or the ServiceAccount's by default.
        ca_file: Certificate authority to trust; the mounted one by default.
        namespaces: Patterns with commas between them, such as ``shop,team-*``; all namespaces when empty.
        end: Moment of the newest sample, ISO 8601; now when empty.
        history_hours: How far to look back.
        step_seconds: Seconds between samples.
        windows: One window a workload, all with the metrics that returned data.

    Returns:
        How many workloads have enough history.
    """
    from pathlib import Path

    from selfheal.training import client, collect_windows

    prometheus = client(prometheus_url, token_file, ca_file)
    gathered = collect_windows(prometheus, namespaces, end, history_hours, step_seconds, Path(windows.path))
    windows.metadata["metrics"] = ", ".join(gathered.names)
    windows.metadata["without_data"] = ", ".join(gathered.without_data)
    windows.metadata["left_out"] = ", ".join(gathered.left_out)
    return len(gathered.windows)

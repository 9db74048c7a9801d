"""The first step: does Prometheus answer, and with which of the catalogue's metrics?"""

from kfp import dsl

from components.base import component


@component
def probe(prometheus_url: str, token_file: str, ca_file: str, end: str, found: dsl.Output[dsl.Artifact]) -> int:
    """Ask Prometheus each query of the catalogue once, so that a run fails in its first minute or not at all.

    Args:
        prometheus_url: Of Prometheus or a Thanos querier.
        token_file: Holds a bearer token; the mounted secret or the ServiceAccount's by default.
        ca_file: Certificate authority to trust; the mounted one by default.
        end: Moment to ask about, ISO 8601; now when empty.
        found: One line of JSON a query: its form, how many series, how old.

    Returns:
        How many metrics return data.
    """
    from pathlib import Path

    from selfheal.training import client, probe_all

    prometheus = client(prometheus_url, token_file, ca_file)
    return probe_all(prometheus, end, Path(found.path))

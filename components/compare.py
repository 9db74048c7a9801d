"""Champion against challenger, on the same data."""

from kfp import dsl

from components.base import component


@component
def compare(
    tracking_uri: str,
    version: str,
    seed: int,
    held_back: dsl.Input[dsl.Dataset],
    report: dsl.Input[dsl.Artifact],
) -> dict[str, object]:
    """Judge the champion on the challenger's data, and decide whether the challenger may replace it.

    Args:
        tracking_uri: Of MLflow.
        version: Of the challenger.
        seed: Of the injected faults; the one the challenger was judged with.
        held_back: Normal windows to judge on.
        report: What the challenger was measured to do.

    Returns:
        ``accepted``, and ``reason``: a sentence.
    """
    from pathlib import Path

    from selfheal.training import decide

    accepted, reason = decide(tracking_uri, version, Path(held_back.path), Path(report.path), seed)
    return {"accepted": accepted, "reason": reason}

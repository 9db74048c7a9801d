"""From what the detectors found in a window to the answer that goes over the wire."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfheal.explanation import explain
from selfheal.forecast import exhaustion
from selfheal.jury import Finding
from selfheal.protocol import ModelInfo, Prediction
from selfheal.vote import Vote, hard_vote
from selfheal.window import MetricWindow

_SILENCE = 3  # newest rows without any sample, after which nobody can tell


def answer(window: MetricWindow, found: Finding, model: ModelInfo, *, own: bool) -> Prediction:
    """The answer for one window.

    Args:
        window: In the model's order of metrics.
        found: In it.
        model: Which one answers.
        own: Whether the workload has models of its own.
    """
    said = Prediction(
        workload=window.workload,
        anomaly=None,
        confidence=None,
        abstained=found.abstained,
        basis="workload" if own else "pooled",
        model=model,
    )
    if not np.isfinite(window.values[-_SILENCE:]).any():
        reason = f"no sample in the newest {min(_SILENCE, len(window))} rows"
        silent = found.abstained | dict.fromkeys(found.votes, reason)
        return said.model_copy(update={"abstained": silent, "message": f"cannot tell: {reason}"})
    verdict = hard_vote(Vote(name, vote, found.scores[name]) for name, vote in found.votes.items())
    more: dict[str, Any] = {"anomaly": verdict.anomaly, "votes": found.votes, "scores": found.scores}
    if verdict.anomaly is None:
        why = "; ".join(f"{name} {reason}" for name, reason in found.abstained.items())
        return said.model_copy(update=more | {"message": f"cannot tell, fewer than two detectors could vote: {why}"})
    more |= {"confidence": found.confidence, "forecast": exhaustion(window) if found.growing else None}
    return said.model_copy(update=more | explain(window, found.voters, anomaly=verdict.anomaly))

"""What to do about a situation, and the next step of an open Remediation. Pure."""

from __future__ import annotations

from controller.model import Decision, Progress, Situation, Step


def decide(situation: Situation) -> Decision:
    """Whether to open a Remediation for a workload."""
    raise NotImplementedError


def advance(progress: Progress) -> Step:
    """The next step of an open Remediation."""
    raise NotImplementedError

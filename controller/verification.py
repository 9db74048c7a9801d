"""Whether a fix, or its undo, has worked. Pure."""

from __future__ import annotations

from controller.model import Judgement, Progress


def judge(progress: Progress) -> Judgement:
    """Where the verification of the newest attempt stands."""
    raise NotImplementedError


def is_undone(progress: Progress) -> Judgement:
    """Whether what the newest attempt touched is as it was."""
    raise NotImplementedError

"""How the drawings of the benches look: readable on white and on black."""

from __future__ import annotations

from contextlib import AbstractContextManager

import matplotlib as mpl

GREY = "#7d8590"


def style(salt: str | None = None) -> AbstractContextManager[None]:
    """A context in which figures are drawn in the benches' style.

    Args:
        salt: Makes the same drawing the same file; None where several drawings share a page, whose names must differ.
    """
    return mpl.rc_context(
        {
            "svg.fonttype": "none",  # text stays text: it can be read aloud and found
            "svg.hashsalt": salt,
            "font.size": 9,
            "axes.edgecolor": GREY,
            "axes.labelcolor": GREY,
            "text.color": GREY,
            "xtick.color": GREY,
            "ytick.color": GREY,
        }
    )

"""The command ``selfheal``, also ``kubectl selfheal`` and ``oc selfheal``.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 nothing to do or no data.
"""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command that the arguments name; every error of ours ends as one line on standard error."""
    from selfheal.cli.app import app
    from selfheal.errors import SelfhealError

    try:
        app()
    except SelfhealError as error:
        sys.stderr.write(f"selfheal: {error}\n")
        sys.exit(error.exit_code)
    sys.exit(0)

"""One JSON line a step on stdout, so that a log pipeline needs no parser of ours."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger("selfheal")

_FIELDS = "selfheal_fields"


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "message", ...fields}``; JSON escapes whatever the cluster's text contains."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without line breaks inside."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, _FIELDS, {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log(message: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: object) -> None:
    """Write one line.

    Args:
        message: A sentence, always the same for the same kind of event.
        level: Of the standard library.
        error: Its traceback is added.
        fields: What differs; those that are None are left out.
    """
    told = {name: value for name, value in fields.items() if value is not None}
    logger.log(level, message, exc_info=error, extra={_FIELDS: told})


def configure(level: int = logging.INFO) -> None:
    """Send everything to stdout as JSON lines; other libraries only from a warning on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logger.setLevel(level)

"""Tables of what was said about injected faults: types, metrics, forecasts."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bench.detection.synthetic import DAY, HOUR
from bench.detection.typing_faults import FAULTS
from bench.detection.typing_measure import Ask

TYPES = ("MemoryLeak", "CPUThrottling", "StorageExhaustion", "MetricAnomaly")
NONE = "none"
_SETTLED = 0.5 * HOUR  # after the first alarm: when a trend has had time to show


def summary(asks: Sequence[Ask]) -> dict[str, Any]:
    """All figures, ready for JSON."""
    cases = [list(group) for _, group in itertools.groupby(asks, key=lambda one: one.case)]
    return {
        "cases": dict(Counter(case[0].fault for case in cases)),
        "type at the first alarm": _confusion((case[0].fault, _first(case)) for case in cases),
        "type half an hour later": _confusion((case[0].fault, _settled(case)) for case in cases),
        "minutes to the first alarm": {name: _delay(_of(cases, name)) for name in FAULTS},
        "alarmed": {name: _share([a.anomaly for case in _of(cases, name) for a in case]) for name in FAULTS},
        "metric named first": {name: _hits(asks, name, "first") for name in FAULTS},
        "metric among the first three": {name: _hits(asks, name, "among") for name in FAULTS},
        "forecast": {name: _forecasts(asks, name) for name in ("leak", "storage")},
        "false forecasts within a day": {
            name: _share([_soon(one) for one in asks if one.fault == name])
            for name in FAULTS
            if name not in ("leak", "storage")
        },
    }


def _of(cases: Iterable[list[Ask]], fault: str) -> list[list[Ask]]:
    return [case for case in cases if case[0].fault == fault]


def _confusion(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Fault injected against type said, as counts."""
    counts = Counter(pairs)
    return {fault: {said: counts[fault, said] for said in (*TYPES, NONE)} for fault in FAULTS}


def _first(case: Iterable[Ask]) -> str:
    return next((one.said for one in case if one.anomaly), NONE)


def _settled(case: Sequence[Ask]) -> str:
    """The type most often said from half an hour after the first alarm on; the last one before where none came."""
    begun = next((one.since for one in case if one.anomaly), None)
    if begun is None:
        return NONE
    later = [one.said for one in case if one.anomaly and one.since >= begun + _SETTLED]
    return Counter(later).most_common(1)[0][0] if later else [one.said for one in case if one.anomaly][-1]


def _delay(cases: Iterable[Sequence[Ask]]) -> float | None:
    found = [next((one.since for one in case if one.anomaly), None) for case in cases]
    known = [since / 60 for since in found if since is not None]
    return round(float(np.median(known)), 1) if known else None


def _share(flags: Sequence[bool]) -> float | None:
    return round(float(np.mean(flags)), 3) if flags else None


def _hits(asks: Iterable[Ask], fault: str, which: str) -> float | None:
    return _share([getattr(one, which) for one in asks if one.fault == fault and getattr(one, which) is not None])


def _soon(one: Ask) -> bool:
    return one.forecast is not None and one.forecast[0] < DAY


def _forecasts(asks: Iterable[Ask], fault: str) -> dict[str, Any]:
    """Of the asks with an alarm: how often there was a forecast, how far off it was, how often its near end held."""
    asked = [one for one in asks if one.fault == fault and one.anomaly and one.left is not None]
    made = [(one.forecast, one.left) for one in asked if one.forecast is not None and one.left is not None]
    if not made:
        return {"alarmed asks": len(asked), "forecasts": 0}
    ratios = np.array([said[0] / max(left, 60.0) for said, left in made])
    return {
        "alarmed asks": len(asked),
        "forecasts": len(made),
        "said / true, median": round(float(np.median(ratios)), 3),
        "said / true, middle 90 %": [round(float(q), 2) for q in np.quantile(ratios, [0.05, 0.95])],
        "off by at most a quarter": _share([bool(0.75 <= r <= 1.25) for r in ratios]),
        "near end held (95 %)": _share([said[1] <= max(left, 60.0) for said, left in made]),
        "near end / true, median": round(float(np.median([said[1] / max(left, 60.0) for said, left in made])), 3),
    }


def as_text(figures: dict[str, Any]) -> str:
    """The same for people."""
    lines = []
    for title in ("type at the first alarm", "type half an hour later"):
        lines += [f"{title}", f"  {'injected':14}" + "".join(f"{said:>19}" for said in (*TYPES, NONE))]
        for fault, row in figures[title].items():
            lines.append(f"  {fault:14}" + "".join(f"{row[said] or '.':>19}" for said in (*TYPES, NONE)))
    lines.append(
        f"{'':16}{'min to alarm':>14}{'alarmed':>10}{'named first':>13}{'first three':>13}{'false forecast':>16}"
    )
    for fault in FAULTS:
        shown = [
            figures[key].get(fault)
            for key in (
                "minutes to the first alarm",
                "alarmed",
                "metric named first",
                "metric among the first three",
                "false forecasts within a day",
            )
        ]
        cells = ["-" if value is None else f"{value:g}" for value in shown]
        lines.append(f"  {fault:14}" + "".join(f"{c:>{w}}" for c, w in zip(cells, (14, 10, 13, 13, 16), strict=True)))
    for fault, found in figures["forecast"].items():
        lines.append(f"forecast of {fault}: " + ", ".join(f"{key} {value}" for key, value in found.items()))
    return "\n".join(lines)

"""The four detectors. One detector is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from selfheal.detectors.arima import ArimaDetector
from selfheal.detectors.base import Detector
from selfheal.detectors.isolation_forest import IsolationForestDetector
from selfheal.detectors.lstm import LstmDetector
from selfheal.detectors.prophet import ProphetDetector

DETECTORS: Mapping[str, type[IsolationForestDetector | ArimaDetector | ProphetDetector | LstmDetector]] = (
    MappingProxyType(
        {
            "isolation_forest": IsolationForestDetector,
            "arima": ArimaDetector,
            "prophet": ProphetDetector,
            "lstm": LstmDetector,
        }
    )
)

__all__ = ["DETECTORS", "Detector"]

from typing import Any

from numpy.typing import ArrayLike

class ARIMA:
    def __init__(self, endog: ArrayLike, *, order: tuple[int, int, int] = ...) -> None: ...
    def fit(self) -> Any: ...

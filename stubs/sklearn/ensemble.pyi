from typing import Any, Self

from numpy.typing import ArrayLike

class IsolationForest:
    estimators_: list[Any]
    max_samples_: int
    def __init__(self, *, n_estimators: int = ..., max_samples: int = ..., random_state: int = ...) -> None: ...
    def fit(self, rows: ArrayLike, /) -> Self: ...

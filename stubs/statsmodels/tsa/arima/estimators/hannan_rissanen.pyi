from typing import Any

from numpy.typing import ArrayLike

def hannan_rissanen(
    endog: ArrayLike, *, ar_order: int = ..., ma_order: int = ..., demean: bool = ..., unbiased: bool = ...
) -> tuple[Any, Any]: ...

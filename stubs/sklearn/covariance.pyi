from numpy import float64
from numpy.typing import NDArray

def ledoit_wolf(rows: NDArray[float64], /, *, assume_centered: bool = ...) -> tuple[NDArray[float64], float]: ...

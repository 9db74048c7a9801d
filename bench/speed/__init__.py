"""How fast training and serving are, beside the naive method: ``make bench-train`` and ``make bench-serve``."""

"""How well detection types, explains and forecasts, where the truth is known: ``python -m bench.detection``."""

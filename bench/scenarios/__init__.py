"""Faults that a heal must survive, each judged from outside by a reader that never asks selfheal how it went."""

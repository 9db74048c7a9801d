"""Notifiers tell people and other systems what happened; they never block a heal."""

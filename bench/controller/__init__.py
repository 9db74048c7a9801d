"""What the controller costs, and what it bears."""

"""``python -m selfheal`` is the command ``selfheal``."""

from selfheal.cli import main

if __name__ == "__main__":
    main()

"""Run the command line with `python -m superconsistency`."""

from .cli import main

if __name__ == "__main__":
    main()

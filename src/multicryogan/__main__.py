"""Run the command line: `python -m multicryogan`."""

from multicryogan.cli import main

if __name__ == "__main__":
    main()

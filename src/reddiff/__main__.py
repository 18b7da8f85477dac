"""The command line, as `python -m reddiff`."""

from reddiff.cli import main

if __name__ == "__main__":
    main()

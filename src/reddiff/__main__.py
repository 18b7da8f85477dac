"""`python -m reddiff`: the command line."""

from reddiff.cli import main

if __name__ == "__main__":
    main()

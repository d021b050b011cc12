"""`python -m cryptometrics` is the console script."""

from cryptometrics.cli import main

if __name__ == "__main__":
    main()

"""`python -m palaver` is the same as the command `palaver`."""

from palaver.cli.main import main

if __name__ == "__main__":
    main()

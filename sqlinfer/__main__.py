"""`python -m sqlinfer` is the command line."""

from sqlinfer.cli import main

if __name__ == "__main__":
    main()

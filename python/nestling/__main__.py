"""`python -m nestling` is `nestling`."""

from nestling.cli import main

if __name__ == "__main__":
    main()

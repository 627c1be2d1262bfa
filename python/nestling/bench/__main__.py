"""`python -m nestling.bench`."""

from nestling.bench import main

if __name__ == "__main__":
    main()

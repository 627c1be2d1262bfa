"""The standalone benchmark: `python -m nestling.bench`.

It first measures what one core of this machine can do at most: how fast it reads, and how many
multiply-adds the scan's own instructions make. Then it measures adding, searching, saving and
loading rows, and says what share of that the coarse scan reaches.

Everything is measured in rounds that take turns, after one that is not counted: what the machine
does meanwhile falls on all alike. Numbers are medians over the rounds, with the lowest and highest.
"""

from nestling.bench.app import app, main

__all__ = ["app", "main"]

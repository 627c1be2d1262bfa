"""The standalone benchmark: `python -m nestling.bench`.

It first measures the limits of one core of this machine: how fast it reads memory, and how many
multiply-adds per second the scan's own instructions make. Then it measures adding, searching,
saving and loading rows, and what share of those limits the coarse scan reaches.

All measurements take turns in rounds, after one warm-up round, so that other load on the machine
affects all of them alike. Figures are medians over the rounds, with the lowest and the highest.
"""

from nestling.bench.app import app, main

__all__ = ["app", "main"]

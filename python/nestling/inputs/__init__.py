"""What comes in, checked in one place: ids, texts, metadata and vectors.

Indexes, collections, readers of files, commands and integrations all call these functions, before
anything is encoded or stored, and so accept the same values and refuse the others in the same
words. Values that a caller passes are checked; values in files and data frames are converted first
(`nestling.corpus`).
"""

__all__: list[str] = []

"""The benchmark of searches for words: `python -m nestling.bench lexical`.

A collection's lexical mode, SQLite's FTS5 and other engines index the same texts and answer the
same questions, each in a process of its own, on the same core. They build one after another, then
take turns in rounds, so that other load on the machine affects all of them alike.

Every engine analyses the texts itself, with English stems where it has them, and ranks by BM25 with
k1 = 1.2 and b = 0.75. All search for the same words of a question: those that nestling's analysis
keeps. An answer is the ids of the best documents, and nothing is cached between the questions
beyond what an engine caches by itself.
"""

from nestling.bench.lexical.command import lexical

__all__ = ["lexical"]

"""The index: vectors in, hits out.

Data flows one way: rows → codes of their prefixes and shells → a funnel of stages → hits.
"""

from nestling.index.cells import Cells
from nestling.index.funnel import Funnel, Stage, default_funnel
from nestling.index.header import Metric
from nestling.index.hits import Hits, StageStats
from nestling.index.index import Index

__all__ = ["Cells", "Funnel", "Hits", "Index", "Metric", "Stage", "StageStats", "default_funnel"]

"""Adaptors: rotations that make the prefixes of any frozen encoder good embeddings.

Example:
    >>> from nestling.training import train_adaptor
    >>> report = train_adaptor(nestling.Encoder("minilm"), texts, "mine")  # doctest: +SKIP
"""

from nestling.training.adaptor.report import AdaptorReport
from nestling.training.adaptor.settings import AdaptorSettings
from nestling.training.adaptor.train import train_adaptor

__all__ = ["AdaptorReport", "AdaptorSettings", "train_adaptor"]

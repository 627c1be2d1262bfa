"""Query encoders: small models that give a large encoder's embeddings of queries in microseconds.

Example:
    >>> from nestling.training import train_query_encoder
    >>> report = train_query_encoder(nestling.Encoder("minilm"), texts, "fast")  # doctest: +SKIP
"""

from nestling.training.query_encoder.report import QueryEncoderReport
from nestling.training.query_encoder.settings import QueryEncoderSettings
from nestling.training.query_encoder.train import train_query_encoder

__all__ = ["QueryEncoderReport", "QueryEncoderSettings", "train_query_encoder"]

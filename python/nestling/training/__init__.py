"""Training: encoders whose prefixes are good embeddings, and small ones for queries.

`train_adaptor` rotates the embeddings of a frozen encoder, `finetune` trains the weights of a BERT:
both need the extra `train`. `train_query_encoder` imitates an encoder in microseconds, and needs
nothing else.

Example:
    >>> from nestling.training import FineTuneSettings, finetune
    >>> settings = FineTuneSettings(dims=[384, 128, 32], steps=300)
    >>> report = finetune("minilm", "pairs.jsonl", "mine", settings)  # doctest: +SKIP
    >>> nestling.Encoder("mine").nesting  # doctest: +SKIP
    (32, 128, 384)
"""

from nestling.training.adaptor import AdaptorReport, AdaptorSettings, train_adaptor
from nestling.training.finetune import FineTuneReport, FineTuneSettings, finetune
from nestling.training.query_encoder import (
    QueryEncoderReport,
    QueryEncoderSettings,
    train_query_encoder,
)

__all__ = [
    "AdaptorReport",
    "AdaptorSettings",
    "FineTuneReport",
    "FineTuneSettings",
    "QueryEncoderReport",
    "QueryEncoderSettings",
    "finetune",
    "train_adaptor",
    "train_query_encoder",
]

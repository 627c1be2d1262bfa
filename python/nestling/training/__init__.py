"""Training: encoders whose prefixes are good embeddings. Needs the extra `train`.

`train_adaptor` rotates the embeddings of a frozen encoder; `finetune` trains the weights of a BERT.

Example:
    >>> from nestling.training import FineTuneSettings, finetune
    >>> settings = FineTuneSettings(dims=[384, 128, 32], steps=300)
    >>> report = finetune("minilm", "pairs.jsonl", "mine", settings)  # doctest: +SKIP
    >>> nestling.Encoder("mine").nesting  # doctest: +SKIP
    (32, 128, 384)
"""

from nestling.training.adaptor import AdaptorReport, AdaptorSettings, train_adaptor
from nestling.training.finetune import FineTuneReport, FineTuneSettings, finetune

__all__ = [
    "AdaptorReport",
    "AdaptorSettings",
    "FineTuneReport",
    "FineTuneSettings",
    "finetune",
    "train_adaptor",
]

"""Training: encoders whose prefixes are good embeddings. Needs the extra `train`.

Example:
    >>> from nestling.training import finetune
    >>> report = finetune("minilm", "pairs.jsonl", "mine", dims=[384, 128, 32])  # doctest: +SKIP
    >>> nestling.Encoder("mine").nesting  # doctest: +SKIP
    (32, 128, 384)
"""

from nestling.training.adaptor import train_adaptor
from nestling.training.finetune import finetune

__all__ = ["finetune", "train_adaptor"]

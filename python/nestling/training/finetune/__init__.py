"""Fine-tuning of a Sentence Transformers model with the Matryoshka loss."""

from nestling.training.finetune.finetune import finetune

__all__ = ["finetune"]

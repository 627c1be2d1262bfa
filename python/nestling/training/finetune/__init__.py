"""Fine-tuning of a Sentence Transformers model with the Matryoshka loss."""

from nestling.training.finetune.finetune import finetune
from nestling.training.finetune.report import FineTuneReport
from nestling.training.finetune.settings import FineTuneSettings

__all__ = ["FineTuneReport", "FineTuneSettings", "finetune"]

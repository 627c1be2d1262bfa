"""Where models come from: built-in models, hub repositories, and folders on disk."""

from nestling.models.cards import BUILT_IN, ModelCard, card
from nestling.models.locate import locate
from nestling.models.store import cache_folder, ensure_model
from nestling.runtime.folder import ModelFolder

__all__ = ["BUILT_IN", "ModelCard", "ModelFolder", "cache_folder", "card", "ensure_model", "locate"]

"""Where models come from: the built-in ones, hub repositories, and folders on disk."""

from nestling.models.cards import BUILT_IN, ModelCard, card
from nestling.models.locate import locate
from nestling.models.store import cache_folder, stored
from nestling.runtime.folder import ModelFolder

__all__ = ["BUILT_IN", "ModelCard", "ModelFolder", "cache_folder", "card", "locate", "stored"]

"""Where models come from: built-in models, hub repositories, and folders on disk."""

from nestling.models.cards import BUILT_IN, QUERY_ENCODERS, ModelCard, QueryEncoderCard, card
from nestling.models.locate import locate
from nestling.models.store import cache_folder, ensure_model
from nestling.runtime.folder import ModelFolder

__all__ = [
    "BUILT_IN",
    "QUERY_ENCODERS",
    "ModelCard",
    "ModelFolder",
    "QueryEncoderCard",
    "cache_folder",
    "card",
    "ensure_model",
    "locate",
]

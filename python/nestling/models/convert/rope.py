"""Rotary position embeddings (RoPE): their frequencies, by the settings of a config.json.

Scaled forms follow transformers, in float32 as there. "ntk" is that of the GTE models (with a
fixed factor), "yarn" is Peng et al. 2023, "llama3" that of Llama 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestling.models.convert.config import Config
from nestling.models.convert.graph import GraphBuilder, Rotation
from nestling.models.source import refused

__all__ = ["Rope", "read_layer_ropes", "read_rope"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary positions.

    Attributes:
        frequencies: Radians per position, for each half of a head.
        scale: What cosines and sines are multiplied by.
    """

    frequencies: tuple[float, ...]
    scale: float = 1.0

    def add(self, graph: GraphBuilder) -> Rotation:
        """Adds the cosines and sines of all positions to a graph."""
        return graph.rotation(np.array(self.frequencies, np.float32), self.scale)


def read_rope(config: Config, head: int, *, theta: float) -> Rope:
    """Reads the rotary positions that all layers share.

    Args:
        config: The config.json, with `rope_parameters`, or `rope_theta` and `rope_scaling`.
        head: Length of a head.
        theta: The base where the config.json has none.
    """
    theta = config.number("rope_theta", "rotary_emb_base", default=theta)
    given = config.get("rope_scaling") or config.get("rope_parameters") or {}
    return _rope(config, {"rope_theta": theta, **given}, head)


def read_layer_ropes(
    config: Config,
    head: int,
    *,
    old_names: Mapping[str, str],
    thetas: Mapping[str, float],
    scaled: tuple[str, ...],
) -> dict[str, Rope]:
    """Reads the rotary positions of each type of layer.

    Args:
        config: The config.json, with `rope_parameters`, or one base for each type.
        head: Length of a head.
        old_names: The setting with the base of a type, in older config.json files.
        thetas: The base of a type where the config.json has none.
        scaled: The types that `rope_scaling` of older config.json files is for.
    """
    ropes = {}
    for kind, name in old_names.items():
        given = (config.get("rope_parameters") or {}).get(kind) or {}
        scaling = (config.get("rope_scaling") or {}) if kind in scaled else {}
        theta = config.number(name, default=thetas[kind])
        ropes[kind] = _rope(config, {"rope_theta": theta, **given, **scaling}, head)
    return ropes


def _rope(config: Config, settings: Mapping[str, Any], head: int) -> Rope:
    kind = settings.get("rope_type") or settings.get("type") or "default"
    part = settings.get("partial_rotary_factor", config.get("partial_rotary_factor"))
    if part not in (None, 1):
        raise refused(f"config.json: partial_rotary_factor is {part!r}; only 1 is converted")
    base = float(settings["rope_theta"])
    powers = np.arange(0, head, 2, dtype=np.float32) / np.float32(head)
    frequencies: Floats = np.float32(1) / np.float32(base) ** powers
    scale = 1.0
    if kind == "linear":
        frequencies = frequencies / np.float32(settings["factor"])
    elif kind == "ntk" and settings.get("mixed_b") is None:
        factor = float(settings["factor"])
        frequencies = np.float32(1) / np.float32(base * factor) ** powers
        frequencies = frequencies / np.float32(factor ** (2 / head))
    elif kind == "yarn":
        frequencies, scale = _yarn(config, settings, head, base)
    elif kind == "llama3":
        frequencies = _llama3(config, settings, frequencies)
    elif kind != "default":
        raise refused(f"config.json: rotary positions of the type {kind!r} are not converted")
    return Rope(tuple(map(float, frequencies)), scale)


def _yarn(
    config: Config, settings: Mapping[str, Any], head: int, base: float
) -> tuple[Floats, float]:
    """Slow rotations are stretched, fast ones kept, and those between are blended."""
    longest = config.integer("max_position_embeddings")
    original = _original_positions(config, settings)
    factor = float(settings.get("factor") or longest / original)

    def magnitude(weight: float = 1.0) -> float:
        return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0

    scale = settings.get("attention_factor")
    if scale is None:
        own, common = settings.get("mscale"), settings.get("mscale_all_dim")
        scale = magnitude(own) / magnitude(common) if own and common else magnitude()

    def dimension(rotations: float) -> float:
        return head * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low = dimension(settings.get("beta_fast") or 32)
    high = dimension(settings.get("beta_slow") or 1)
    if settings.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head - 1)
    if low == high:
        high += 0.001
    at = np.arange(head // 2, dtype=np.float32)
    stretched = np.clip((at - np.float32(low)) / np.float32(high - low), 0, 1)
    powers = np.float32(base) ** (np.arange(0, head, 2, dtype=np.float32) / np.float32(head))
    frequencies = stretched / (np.float32(factor) * powers) + (1 - stretched) / powers
    return frequencies.astype(np.float32), float(scale)


def _original_positions(config: Config, settings: Mapping[str, Any]) -> int:
    """Returns the length that a scaled model was first trained for."""
    name = "original_max_position_embeddings"
    found: int = config.get(name) or settings.get(name) or config.integer("max_position_embeddings")
    return found


def _llama3(config: Config, settings: Mapping[str, Any], frequencies: Floats) -> Floats:
    """Waves longer than the original context are stretched, short ones kept."""
    factor, slow, fast = (
        np.float32(settings[name]) for name in ("factor", "low_freq_factor", "high_freq_factor")
    )
    original = np.float32(_original_positions(config, settings))
    waves = np.float32(2 * math.pi) / frequencies
    stretched = np.where(waves > original / slow, frequencies / factor, frequencies)
    blend = (original / waves - slow) / (fast - slow)
    blended = (1 - blend) * stretched / factor + blend * stretched
    between = (waves >= original / fast) & (waves <= original / slow)
    return np.where(between, blended, stretched).astype(np.float32)

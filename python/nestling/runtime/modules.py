"""What follows the transformer: pooling, dense layers and norms, as in sentence-transformers.

A module works on token embeddings (batch, tokens, dim) or on embeddings (batch, dim), in float32.
A text's result does not depend on its batch: padding is on the right and the mask leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.value import Value
from nestling.errors import InternalError, ModelError
from nestling.runtime.config import read_json
from nestling.runtime.weights import read_tensors

__all__ = [
    "ACTIVATIONS",
    "POOLINGS",
    "Dense",
    "LayerNorm",
    "Module",
    "Normalize",
    "Pooling",
    "Tail",
    "Unsupported",
    "layer_norm",
    "normalise",
    "read_module",
    "read_pooling",
]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_WEIGHTS: Final = "model.safetensors"
_PICKLE: Final = "pytorch_model.bin"
_SENTENCE: Final = "sentence_embedding"
_TOKENS: Final = "token_embeddings"
# The booleans of older pooling configs, in the order in which several are concatenated.
_BOOLEANS: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_LEAST: Final = np.float32(1e-9)  # of a sum of weights, as in sentence-transformers
_LEAST_NORM: Final = np.float32(1e-12)  # of torch.nn.functional.normalize


class Module(Value):
    """One module of a model folder, without its weights."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pooling(Module):
    """One embedding from the token embeddings of a text.

    Attributes:
        modes: Names of `POOLINGS`; the results of several are concatenated.
        include_prompt: Whether the tokens of the prompt count.
        dim: Dimensions of a token embedding; None where the config does not say.
    """

    modes: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    dim: int | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dense(Module):
    """A linear layer with an activation function.

    Attributes:
        weights: The safetensors file: `linear.weight`, `linear.bias`, `residual.weight`.
        activation: A name of `ACTIVATIONS`.
        bias: Whether the layer has a bias.
        residual: Whether its input, projected where the sizes differ, is added to its result.
        tokens: Whether it applies to token embeddings, before they are pooled.
        dim: Dimensions of its result; None where the config does not say.
    """

    weights: Path
    activation: str = "Tanh"
    bias: bool = True
    residual: bool = False
    tokens: bool = False
    dim: int | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LayerNorm(Module):
    """A layer norm with a learned gain and bias.

    Attributes:
        weights: The safetensors file: `norm.weight`, `norm.bias`.
    """

    weights: Path


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Normalize(Module):
    """Unit length.

    Attributes:
        tokens: Whether it applies to token embeddings, before they are pooled.
    """

    tokens: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unsupported(Module):
    """A module that cannot be run outside the graph.

    Attributes:
        kind: Its type, as in modules.json.
        reason: Why, in words that complete "the module … of modules.json".
    """

    kind: str
    reason: str = field(compare=False)  # which may name a file


def read_module(kind: str, folder: Path) -> Module | None:
    """Returns a module of modules.json; None for one that changes nothing, such as Dropout.

    Args:
        kind: Its type, the import path of a class.
        folder: Where its files are.

    Raises:
        ModelError: Its config cannot be read.

    Example:
        >>> read_module("sentence_transformers.models.Normalize", Path("2_Normalize"))
        Normalize(tokens=False)
        >>> read_module("sentence_transformers.models.WordWeights", Path("1_Words"))
        Unsupported(kind='sentence_transformers.models.WordWeights', reason='is not supported')
    """
    name = kind.rsplit(".", 1)[-1]
    reader = _READERS.get(name) if kind.startswith("sentence_transformers.") else None
    if reader is None:
        return Unsupported(kind, "is not supported")
    try:
        return reader(folder)
    except _NotSupportedError as error:
        return Unsupported(kind, str(error))


def read_pooling(folder: Path) -> Pooling:
    """Returns the pooling that a folder's config.json specifies.

    Raises:
        ModelError: The file is absent or malformed, or has an unknown mode.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(
            f"there is no {path}, which specifies the pooling: add it, such as "
            '{"pooling_mode": "mean"}'
        )
    config = read_json(path)
    named = config.get("pooling_mode")
    if named is None:
        named = [mode for key, mode in _BOOLEANS.items() if config.get(key)] or ["mean"]
    modes = [named] if isinstance(named, str) else named
    known = isinstance(modes, list) and all(isinstance(m, str) and m in POOLINGS for m in modes)
    if not known or not modes:
        raise ModelError(
            f"{path} specifies the pooling {named!r}, which is not supported; these are: "
            f"{', '.join(POOLINGS)}"
        )
    dim = config.get("embedding_dimension", config.get("word_embedding_dimension"))
    return Pooling(
        tuple(modes),
        bool(config.get("include_prompt", True)),
        dim if isinstance(dim, int) else None,
    )


class _NotSupportedError(Exception):
    """Why a module cannot be run."""


def _read_dense(folder: Path) -> Dense:
    config = read_json(folder / "config.json")
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    name = str(activation).rsplit(".", 1)[-1]
    if not str(activation).startswith("torch.nn.") or name not in ACTIVATIONS:
        raise _NotSupportedError(
            f"has the activation function {activation!r}, which is not supported; these of "
            f"torch.nn are: {', '.join(ACTIVATIONS)}"
        )
    dim = config.get("out_features")
    return Dense(
        _weights(folder),
        activation=name,
        bias=bool(config.get("bias", True)),
        residual=bool(config.get("use_residual", False)),
        tokens=_takes_tokens(config),
        dim=dim if isinstance(dim, int) else None,
    )


def _read_layer_norm(folder: Path) -> LayerNorm:
    return LayerNorm(_weights(folder))


def _read_normalize(folder: Path) -> Normalize:
    return Normalize(_takes_tokens(read_json(folder / "config.json")))


def _read_dropout(folder: Path) -> None:
    """Returns nothing: dropout only acts while a model is trained."""


def _takes_tokens(config: Mapping[str, Any]) -> bool:
    """Whether a module applies to token embeddings, not to those of texts."""
    source = config.get("module_input_name", _SENTENCE)
    target = config.get("module_output_name") or source
    if source != target or source not in (_SENTENCE, _TOKENS):
        raise _NotSupportedError(f"maps {source} to {target}, which is not supported")
    return bool(source == _TOKENS)


def _weights(folder: Path) -> Path:
    path = folder / _WEIGHTS
    if path.is_file():
        return path
    if (folder / _PICKLE).is_file():
        raise _NotSupportedError(
            f"has its weights in {folder / _PICKLE}, a pickle, which could run any code and is "
            f"never read: save them as {_WEIGHTS} (SentenceTransformer(…).save_pretrained(…))"
        )
    raise _NotSupportedError(f"lacks its weights, {path}")


_READERS: Final[Mapping[str, Callable[[Path], Module | None]]] = {
    "Pooling": read_pooling,
    "Dense": _read_dense,
    "LayerNorm": _read_layer_norm,
    "Normalize": _read_normalize,
    "Dropout": _read_dropout,
}


class Tail:
    """Modules with their weights, ready to run. Threads may share it.

    A `Normalize` at the end is left out: whatever takes a prefix of an embedding normalises it.

    Args:
        modules: In their order; none may be `Unsupported`.
        pooled: Whether the input is pooled already: (batch, dim).

    Attributes:
        include_prompt: Whether the tokens of a prompt count.

    Raises:
        ModelError: Weights cannot be read or do not fit, or the modules do not pool exactly once.
    """

    def __init__(self, modules: Sequence[Module], *, pooled: bool = False) -> None:
        _check_order(modules, pooled)
        if modules and isinstance(modules[-1], Normalize):
            modules = modules[:-1]
        self._steps = [_step(module) for module in modules]
        self.include_prompt = all(
            module.include_prompt for module in modules if isinstance(module, Pooling)
        )

    def run(self, values: Floats, mask: Ids, skip: int = 0) -> Floats:
        """Returns (batch, dim) embeddings, of any length.

        Args:
            values: The output of the graph: (batch, tokens, dim), or (batch, dim) where it pools.
            mask: (batch, tokens), 1 for tokens.
            skip: Tokens of the prompt, which a pooling without them leaves out.
        """
        for step in self._steps:
            values = step(values, mask, skip)
        return values


def _check_order(modules: Sequence[Module], pooled: bool) -> None:
    for module in modules:
        if isinstance(module, Pooling):
            if pooled:
                raise ModelError("the modules pool embeddings that are pooled already")
            pooled = True
        elif pooled == (isinstance(module, (Dense, Normalize)) and module.tokens):
            at = "token embeddings" if pooled else "pooled embeddings"
            raise ModelError(f"the module {type(module).__name__} expects {at} at its place")
    if not pooled:
        raise ModelError("no module pools the token embeddings")


_Step = Callable[[Floats, Ids, int], Floats]


def _step(module: Module) -> _Step:
    if isinstance(module, Pooling):
        return _pooling_step(module)
    if isinstance(module, Dense):
        return _dense_step(module)
    if isinstance(module, LayerNorm):
        return _layer_norm_step(module)
    if isinstance(module, Normalize):
        return lambda values, mask, skip: values / np.maximum(_norms(values), _LEAST_NORM)
    raise InternalError(f"{module!r} cannot be run")


def _pooling_step(module: Pooling) -> _Step:
    functions = [POOLINGS[mode] for mode in module.modes]
    if module.include_prompt:
        if len(functions) == 1:
            function = functions[0]
            return lambda tokens, mask, skip: function(tokens, mask)
        return lambda tokens, mask, skip: np.concatenate([f(tokens, mask) for f in functions], 1)

    def pool(tokens: Floats, mask: Ids, skip: int) -> Floats:
        if skip:
            mask = mask.copy()
            mask[:, :skip] = 0
        return np.concatenate([f(tokens, mask) for f in functions], 1)

    return pool


def _dense_step(module: Dense) -> _Step:
    names = ["linear.weight"] + ["linear.bias"] * module.bias
    tensors = read_tensors(module.weights)
    weight = tensors.get("linear.weight")
    project = module.residual and weight is not None and weight.shape[0] != weight.shape[1]
    _expect(tensors, names + ["residual.weight"] * project, module.weights)
    matrix = np.ascontiguousarray(tensors["linear.weight"].T)
    bias = tensors.get("linear.bias")
    activation = ACTIVATIONS[module.activation]
    shortcut = np.ascontiguousarray(tensors["residual.weight"].T) if project else None

    def apply(values: Floats, mask: Ids, skip: int) -> Floats:
        result: Floats = _product(values, matrix, module.weights)
        if bias is not None:
            result += bias
        result = activation(result)
        if shortcut is not None:
            result = result + values @ shortcut
        elif module.residual:
            result = result + values
        return result

    return apply


def _layer_norm_step(module: LayerNorm) -> _Step:
    tensors = read_tensors(module.weights)
    _expect(tensors, ["norm.weight", "norm.bias"], module.weights)
    gain, bias = tensors["norm.weight"], tensors["norm.bias"]
    return lambda values, mask, skip: layer_norm(values) * gain + bias


def _expect(tensors: Mapping[str, Floats], names: Sequence[str], path: Path) -> None:
    if tensors.keys() != set(names):
        raise ModelError(
            f"{path} has the tensors {', '.join(sorted(tensors))}: expected {', '.join(names)}, "
            "as the config beside it says"
        )


def _product(values: Floats, matrix: Floats, path: Path) -> Floats:
    if values.shape[-1] != len(matrix):
        raise ModelError(
            f"the layer in {path} takes {len(matrix)} dims, but what precedes it gives "
            f"{values.shape[-1]}"
        )
    result: Floats = values @ matrix
    return result


def _sum(tokens: Floats, weights: Floats) -> Floats:
    total: Floats = np.einsum("btd,bt->bd", tokens, weights)
    return total


def _mean(tokens: Floats, mask: Ids) -> Floats:
    shown = mask.astype(np.float32)
    result: Floats = _sum(tokens, shown)
    result /= np.maximum(np.add.reduce(shown, axis=1, keepdims=True), _LEAST)
    return result


def _mean_sqrt(tokens: Floats, mask: Ids) -> Floats:
    shown = mask.astype(np.float32)
    count = np.maximum(np.add.reduce(shown, axis=1, keepdims=True), _LEAST)
    result: Floats = _sum(tokens, shown) / np.sqrt(count)
    return result


def _weighted_mean(tokens: Floats, mask: Ids) -> Floats:
    weights = (mask * np.arange(1, mask.shape[1] + 1)).astype(np.float32)
    result: Floats = _sum(tokens, weights)
    result /= np.maximum(np.add.reduce(weights, axis=1, keepdims=True), _LEAST)
    return result


def _max(tokens: Floats, mask: Ids) -> Floats:
    most: Floats = np.where(mask[:, :, None] > 0, tokens, np.float32(-np.inf)).max(axis=1)
    most[~mask.any(axis=1)] = 0  # where only the prompt is left
    return most


def _first(tokens: Floats, mask: Ids) -> Floats:
    first: Floats = tokens[np.arange(len(tokens)), mask.argmax(axis=1)]
    return first


def _last(tokens: Floats, mask: Ids) -> Floats:
    last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    rows = np.arange(len(tokens))
    result: Floats = tokens[rows, last] * mask[rows, last, None].astype(np.float32)
    return result


#: Functions from token embeddings (batch, tokens, dim) and a mask (batch, tokens) to (batch, dim),
#: by the names of sentence-transformers. Padding is on the right.
POOLINGS: Final[Mapping[str, Callable[[Floats, Ids], Floats]]] = MappingProxyType(
    {
        "cls": _first,
        "max": _max,
        "mean": _mean,
        "mean_sqrt_len_tokens": _mean_sqrt,
        "weightedmean": _weighted_mean,
        "lasttoken": _last,
    }
)


def _sigmoid(x: Floats) -> Floats:
    small = np.exp(-np.abs(x))  # exp(-x) could overflow
    result: Floats = np.where(x < 0, small, np.float32(1)) / (1 + small)
    return result


def _gelu(x: Floats) -> Floats:
    result: Floats = x * (1 + _ERF(x * np.float32(math.sqrt(0.5)))) / 2
    return result


def _elu(x: Floats) -> Floats:
    result: Floats = np.where(x > 0, x, np.expm1(np.minimum(x, np.float32(0))))
    return result


def _softplus(x: Floats) -> Floats:
    return np.logaddexp(x, 0, dtype=np.float32)


_ERF: Final = np.vectorize(math.erf, otypes=[np.float32])

#: Activation functions by the names of their classes in torch.nn, which are made without arguments.
ACTIVATIONS: Final[Mapping[str, Callable[[Floats], Floats]]] = MappingProxyType(
    {
        "Identity": lambda x: x,
        "Tanh": np.tanh,
        "ReLU": lambda x: np.maximum(x, 0),
        "ReLU6": lambda x: np.clip(x, 0, 6),
        "LeakyReLU": lambda x: np.where(x > 0, x, x * np.float32(0.01)),
        "GELU": _gelu,
        "SiLU": lambda x: x * _sigmoid(x),
        "Sigmoid": _sigmoid,
        "ELU": _elu,
        "Softplus": _softplus,
        "Mish": lambda x: x * np.tanh(_softplus(x)),
        "Hardtanh": lambda x: np.clip(x, -1, 1),
        "Softsign": lambda x: x / (1 + np.abs(x)),
    }
)


def layer_norm(vectors: Floats, epsilon: float = 1e-5) -> Floats:
    """Returns each row with mean 0 and variance 1, over all its dimensions.

    Example:
        >>> layer_norm(np.array([[1, 3]], np.float32)).round(3)
        array([[-1.,  1.]], dtype=float32)
    """
    centred = vectors - vectors.mean(axis=-1, keepdims=True)
    result: Floats = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + epsilon)
    return result


def normalise(vectors: Floats) -> Floats:
    """Returns each row at unit length; a zero row stays zero.

    Example:
        >>> normalise(np.array([[3, 4], [0, 0]], np.float32))
        array([[0.6, 0.8],
               [0. , 0. ]], dtype=float32)
    """
    result: Floats
    if len(vectors) == 1:  # the same bits in a third of the time, which a single query notices
        row = vectors[0]
        result = vectors / (math.sqrt(np.add.reduce(row * row)) or math.inf)
        return result
    norms = _norms(vectors)
    norms[norms == 0] = np.inf  # so that zero rows stay zero
    result = vectors / norms
    return result


def _norms(vectors: Floats) -> Floats:
    norms: Floats = np.sqrt(np.add.reduce(vectors * vectors, axis=-1, keepdims=True))
    return norms

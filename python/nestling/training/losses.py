"""Losses over nested prefixes, made of the losses of sentence-transformers.

The Matryoshka loss (Kusupati et al. 2022, "Matryoshka Representation Learning") is a weighted sum:
one loss for each nesting length, of the prefixes of that length, each brought to unit length. The
loss of a prefix is

* for questions with answers, multiple negatives ranking (InfoNCE: van den Oord et al. 2018,
  "Representation Learning with Contrastive Predictive Coding"): the cross-entropy of finding a
  question's answer, by cosine times a scale, among the answers of the whole batch and all hard
  negatives in it;
* for scored pairs, CoSENT: log(1 + sum of exp(scale (cos_i - cos_j))) over all pairs i, j of a
  batch where j has the higher score.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

from nestling.errors import ArgumentError
from nestling.training.packages import require_sentence_transformers

__all__ = ["Kind", "LossLog", "nested_loss"]

Kind = Literal["ranking", "scored"]


class LossLog:
    """The losses of each prefix since `take` was last called."""

    def __init__(self) -> None:
        self._losses: dict[int, list[Any]] = defaultdict(list)

    def add(self, dims: int, loss: Any) -> None:
        """Adds one loss; it stays on its device, so that nothing waits for a GPU."""
        self._losses[dims].append(loss.detach())

    def take(self) -> dict[int, float]:
        """Returns the mean loss by prefix length, longest first, and clears the log."""
        means = {
            dims: sum(float(loss) for loss in losses) / len(losses)
            for dims, losses in sorted(self._losses.items(), reverse=True)
        }
        self._losses.clear()
        return means


def nested_loss(
    model: Any,
    dims: Sequence[int],
    *,
    kind: Kind = "ranking",
    weights: Sequence[float] | None = None,
    scale: float = 20.0,
    mini_batch: int | None = None,
) -> tuple[Any, LossLog]:
    """Returns the loss of a model's prefixes, and a log of its values.

    Args:
        model: A `SentenceTransformer`.
        dims: Prefix lengths; the whole embedding counts only if it is one of them.
        kind: "ranking" for columns question, answer and hard negatives; "scored" for two texts and
            a score.
        weights: Weight of each length, in the order of `dims`. Default: 1 each.
        scale: Factor of the cosines, the inverse of a temperature.
        mini_batch: Texts whose activations are held at once, for batches that do not fit in memory
            (gradient caching: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under
            Memory Limited Setup"); for "ranking" only.

    Returns:
        The loss, a torch module that is called with (features, labels), and the log that each call
        fills.

    Raises:
        PackageError: The extra `train` is not installed.
        ArgumentError: There are no lengths, one is longer than the embedding, the number of weights
            differs, or `mini_batch` is given for scored pairs.

    Example:
        >>> loss, log = nested_loss(model, [384, 128, 32])  # doctest: +SKIP
    """
    losses = require_sentence_transformers().sentence_transformer.losses
    _check(model.get_embedding_dimension(), dims, weights)
    if kind == "scored" and mini_batch is not None:
        raise ArgumentError(
            "mini_batch is for ranking only: the loss of scored pairs has no cached form"
        )
    if kind == "scored":
        base, part = losses.CoSENTLoss(model, scale=scale), "compute_loss_from_embeddings"
    elif mini_batch is None:
        base = losses.MultipleNegativesRankingLoss(model, scale=scale)
        part = "compute_loss_from_embeddings"
    else:
        base = losses.CachedMultipleNegativesRankingLoss(
            model, scale=scale, mini_batch_size=mini_batch
        )
        part = "calculate_loss"
    log = LossLog()
    inner = getattr(base, part)

    def logged(embeddings: Any, *args: Any, **options: Any) -> Any:
        loss = inner(embeddings, *args, **options)
        column = embeddings[0]
        log.add((column if mini_batch is None else column[0]).shape[-1], loss)
        return loss

    # The Matryoshka loss calls this once per prefix, whose length is the width of the call.
    setattr(base, part, logged)
    return losses.MatryoshkaLoss(
        model,
        base,
        matryoshka_dims=list(dims),
        matryoshka_weights=None if weights is None else list(weights),
    ), log


def _check(dim: int, dims: Sequence[int], weights: Sequence[float] | None) -> None:
    if not dims:
        raise ArgumentError("dims must name at least one prefix length")
    if not 1 <= min(dims) <= max(dims) <= dim:
        raise ArgumentError(f"dims must be 1 to {dim}, not {list(dims)}")
    if weights is not None and len(weights) != len(dims):
        raise ArgumentError(
            f"{len(weights)} weights for {len(dims)} dims: give one weight per length"
        )

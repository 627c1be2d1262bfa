"""How surely a recall is reached by queries that were not asked."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["lower_bound"]

_Z: Final = 1.645  # one-sided 95 %


def lower_bound(recalls: NDArray[np.float64], k: int) -> float:
    """Returns the one-sided 95 % lower bound of the mean, by the normal approximation.

    One query more is counted, which missed one row: so a handful of queries that all found
    everything prove no perfect recall (the idea of Agresti and Coull 1998, "Approximate is better
    than exact for interval estimation of binomial proportions").

    Settings are tried from the least safe to the safest. What a safer one keeps holds what a less
    safe one keeps, so that their recalls rise together, and the first that passes is also the last
    of a descent from the safest: by the fixed-sequence test of Angelopoulos et al. 2021, "Learn
    then Test", that takes no correction for the number of settings.

    Args:
        recalls: (m,) the share of its k rows that each query found.
        k: Rows that each should find.

    Example:
        >>> round(lower_bound(np.ones(500), 10), 4), round(lower_bound(np.ones(5), 10), 4)
        (0.9995, 0.9559)
    """
    values = np.append(recalls, 1 - 1 / k)
    return float(values.mean() - _Z * values.std(ddof=1) / np.sqrt(len(values)))

"""The confidence that queries which were not measured reach a recall.

Home-made in ten lines of numpy: scipy would be a dependency of 140 MB (installed) for one formula.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["lower_bound"]

_Z: Final = 1.645  # one-sided 95 %


def lower_bound(recalls: NDArray[np.float64], k: int) -> float:
    """Returns the one-sided 95 % lower bound of the mean, by the normal approximation.

    One more query is counted, which missed one row: a few queries that all found everything do not
    prove a perfect recall (after Agresti and Coull 1998, "Approximate is better than exact for
    interval estimation of binomial proportions").

    Settings are tried from the least safe to the safest. A safer one keeps all that a less safe one
    keeps, so recall rises along the sequence, and the first setting that passes is also the last
    one of a descent from the safest: by the fixed-sequence test of Angelopoulos et al. 2021, "Learn
    then Test", no correction for the number of settings is needed.

    Args:
        recalls: (m,) float64, the share of its k rows that each query found.
        k: Rows that each query should find.

    Example:
        >>> round(lower_bound(np.ones(500), 10), 4), round(lower_bound(np.ones(5), 10), 4)
        (0.9995, 0.9559)
    """
    values = np.append(recalls, 1 - 1 / k)
    return float(values.mean() - _Z * values.std(ddof=1) / np.sqrt(len(values)))

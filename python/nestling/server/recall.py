"""What share of the exact hits searches find, measured on a sample of them."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from nestling.errors import NestlingError
from nestling.server.metrics import Metrics
from nestling.server.schedule.search import Searches

__all__ = ["RecallSample"]

_log = logging.getLogger("nestling.server")


class RecallSample:
    """Repeats some searches with an explanation, which also searches exactly, beside the others.

    One at a time: an exact search reads every row, so a server under load measures fewer of them.

    Args:
        share: Share of searches to repeat; 0 for none.
        metrics: What counts the results.
        submit: Runs a function in another thread.
    """

    def __init__(
        self, share: float, metrics: Metrics, submit: Callable[[Callable[[], None]], object]
    ) -> None:
        self._share = share
        self._metrics = metrics
        self._submit = submit
        self._busy = threading.Lock()

    def offer(self, searches: Searches) -> None:
        """Repeats the first query of a request, if its turn has come."""
        if not self._share or searches.options["mode"] == "lexical":
            return
        if random.random() < self._share and self._busy.acquire(blocking=False):  # noqa: S311
            self._submit(lambda: self._measure(searches))

    def _measure(self, searches: Searches) -> None:
        options = {**searches.options, "include": (), "explain": True}
        try:
            vectors = None if searches.vectors is None else searches.vectors[:1]
            if searches.texts is not None:
                found = searches.collection.search(searches.texts[:1], vectors=vectors, **options)
            else:
                found = searches.collection.search(vectors, **options)
            for hits in found if isinstance(found, list) else [found]:
                if hits.explanation is not None:
                    self._metrics.explanation(hits.explanation, options["k"])
        except NestlingError as error:
            _log.warning("a search could not be repeated: %s", error)
        finally:
            self._busy.release()

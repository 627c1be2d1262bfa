"""What each path answers."""

from __future__ import annotations

from nestling.server.routes import (
    cohere,
    collections,
    documents,
    fields,
    funnel,
    openai,
    operation,
    page,
    search,
    vector_stores,
)
from nestling.server.routing import Endpoint

__all__ = ["ENDPOINTS"]

# Those that are called most come first: a path is compared with one after the other.
ENDPOINTS: tuple[Endpoint, ...] = (
    *search.ENDPOINTS,
    *openai.ENDPOINTS,
    *collections.ENDPOINTS,
    *documents.ENDPOINTS,
    *funnel.ENDPOINTS,
    *fields.ENDPOINTS,
    *vector_stores.ENDPOINTS,
    *cohere.ENDPOINTS,
    *operation.ENDPOINTS,
    *page.ENDPOINTS,
)

"""`python -m nestling.bench collection`: adding, filtering, and searching alongside a writer."""

from nestling.bench.collection.command import collection

__all__ = ["collection"]

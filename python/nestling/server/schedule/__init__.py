"""What runs when: texts gathered into batches of a model, queries into batches of a search."""

__all__: list[str] = []

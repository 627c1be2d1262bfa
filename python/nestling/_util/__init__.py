"""Small tools without a subject of their own, below everything but the errors."""

__all__: list[str] = []

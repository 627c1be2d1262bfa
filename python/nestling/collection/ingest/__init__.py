"""Documents as they come in: checked, split into passages, encoded, committed."""

__all__: list[str] = []

"""Documents as they are found: filters, rankings by vectors and by words, fusion, highlights."""

__all__: list[str] = []

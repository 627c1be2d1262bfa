"""Small tools that all other layers use; they import nothing but the errors."""

__all__: list[str] = []

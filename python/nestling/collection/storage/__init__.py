"""The folder of a collection: its database, segments, writer lock and snapshots."""

__all__: list[str] = []

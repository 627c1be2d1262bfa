"""What keeps a collection in order: compaction, checks, repairs, backups, transfer."""

__all__: list[str] = []

"""Collections: documents that live, with metadata, filters, updates and no loss.

Data flows one way: records → passages → vectors and words → one commit → a view of it → hits.

Example:
    >>> import nestling
    >>> with nestling.Collection("articles") as articles:  # doctest: +SKIP
    ...     articles.add("Bread is made of flour and water.", metadata={"lang": "en"})
    ...     articles.search("what makes bread?", where={"lang": {"$in": ["ar", "en"]}})
"""

from nestling.collection.collection import Collection
from nestling.collection.ingest.encoder import EncoderIdentity
from nestling.collection.ingest.passages import Passages
from nestling.collection.ingest.records import document_id
from nestling.collection.ingestor import AddResult
from nestling.collection.query.hits import DocumentHit, DocumentHits, DroppedHit, Explanation
from nestling.collection.storage.create import is_collection
from nestling.collection.storage.documents import StoredDocument
from nestling.collection.upkeep.check import CheckReport, check
from nestling.collection.upkeep.info import CollectionInfo
from nestling.collection.upkeep.repair import repair
from nestling.runtime.text_encoder import TextEncoder

__all__ = [
    "AddResult",
    "CheckReport",
    "Collection",
    "CollectionInfo",
    "DocumentHit",
    "DocumentHits",
    "DroppedHit",
    "EncoderIdentity",
    "Explanation",
    "Passages",
    "StoredDocument",
    "TextEncoder",
    "check",
    "document_id",
    "is_collection",
    "repair",
]

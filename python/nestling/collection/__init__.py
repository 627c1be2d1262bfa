"""Collections: documents with metadata, filters and updates, on disk and safe from crashes.

Data flows one way, and so do the imports of the sub-packages (`ingest`, `storage`, `query`,
`upkeep`): records → passages → vectors and words → one commit → a view of it → hits.

Example:
    >>> with nestling.Collection("articles", dim=2) as articles:
    ...     _ = articles.add("Bread is made of flour.", "bread", {"lang": "en"}, vectors=[1, 0])
    ...     articles.search("flour", mode="lexical", where={"lang": {"$in": ["ar", "en"]}})[0].id
    'bread'
"""

from nestling.collection.collection import Collection
from nestling.collection.ingest.identity import EncoderIdentity
from nestling.collection.ingest.passages import Passages
from nestling.collection.ingest.records import document_id
from nestling.collection.ingestor import AddResult
from nestling.collection.query.highlight import Snippet
from nestling.collection.query.hits import (
    DocumentHit,
    DocumentHits,
    DroppedHit,
    Explanation,
    RankedScore,
)
from nestling.collection.query.survivors import Survivors
from nestling.collection.query.synonyms import Synonyms
from nestling.collection.query.weight import WeightFit
from nestling.collection.storage.create import is_collection
from nestling.collection.storage.documents import StoredDocument
from nestling.collection.upkeep.check import CheckReport, check
from nestling.collection.upkeep.compaction import CompactResult
from nestling.collection.upkeep.info import CollectionInfo
from nestling.collection.upkeep.repair import repair
from nestling.runtime.text_encoder import TextEncoder

__all__ = [
    "AddResult",
    "CheckReport",
    "Collection",
    "CollectionInfo",
    "CompactResult",
    "DocumentHit",
    "DocumentHits",
    "DroppedHit",
    "EncoderIdentity",
    "Explanation",
    "Passages",
    "RankedScore",
    "Snippet",
    "StoredDocument",
    "Survivors",
    "Synonyms",
    "TextEncoder",
    "WeightFit",
    "check",
    "document_id",
    "is_collection",
    "repair",
]

"""What the endpoints answer, as types: the OpenAPI document is made of them.

Answers are built as plain dicts, which is faster; tests compare them with these.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

__all__ = [
    "AddResult",
    "Answer",
    "ApiVersion",
    "Backup",
    "BilledUnits",
    "CellSettings",
    "CheckReport",
    "CollectionInfo",
    "Collections",
    "CompactResult",
    "Content",
    "Count",
    "Deleted",
    "DeletedObject",
    "Document",
    "DocumentPage",
    "Dropped",
    "DroppedTitle",
    "EmbedAnswer",
    "Embedding",
    "EmbeddingForms",
    "Embeddings",
    "Encoder",
    "Error",
    "ErrorDetail",
    "Explanation",
    "Field",
    "Fields",
    "File",
    "FileBatch",
    "FileCounts",
    "Files",
    "FoundDocuments",
    "FunnelReport",
    "Hit",
    "Info",
    "Meta",
    "Model",
    "Models",
    "OlderEmbedAnswer",
    "Point",
    "Points",
    "RankedScore",
    "Rejected",
    "Relevance",
    "Removed",
    "RerankAnswer",
    "Score",
    "SearchResult",
    "SearchResults",
    "ServedModel",
    "ServedQueryEncoder",
    "Snippet",
    "Split",
    "Stage",
    "State",
    "Status",
    "StoreFile",
    "StoreFileContent",
    "StoreFiles",
    "StoreHit",
    "StoreHits",
    "Text",
    "Trial",
    "TuneReport",
    "Usage",
    "VectorStore",
    "VectorStores",
]

Scalar = str | int | float | bool


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """The base of all answers."""


class ErrorDetail(Answer):
    """What was wrong.

    Attributes:
        message: What was wrong, what was expected, what to do.
        type: The kind of error, as OpenAI calls it.
        param: Which part of the request is wrong.
        code: A word that programs can compare.
    """

    message: str
    type: str
    param: str | None
    code: str | None


class Error(Answer):
    """The answer to every request that fails."""

    error: ErrorDetail


class State(Answer):
    """Whether the server runs, or serves."""

    status: str


class ServedModel(Answer):
    """An encoder that is served."""

    name: str
    dim: int
    nesting: list[int]
    max_length: int | None
    precision: str | None


class ServedQueryEncoder(Answer):
    """A query encoder that is served, and the name of the encoder that it imitates."""

    name: str
    imitates: str
    dim: int


class Status(Answer):
    """What is served."""

    version: str
    status: str
    ready: bool
    read_only: bool
    uptime_seconds: float
    models: list[ServedModel]
    query_encoders: list[ServedQueryEncoder]
    problems: dict[str, str]


class Encoder(Answer):
    """The encoder that made the embeddings of a collection."""

    name: str
    dim: int
    kind: str
    class_path: str | None
    precision: str | None
    nested: bool
    fingerprint: str | None
    overrides: dict[str, Any]


class Split(Answer):
    """How documents are split into passages."""

    size: int
    overlap: int


class CellSettings(Answer):
    """A partition of the rows into cells."""

    count: int
    probes: int | None
    adaptive: bool
    spill: bool
    dims: int | None
    links: int
    typical: float
    halving: float


class CollectionInfo(Answer):
    """The contents, the settings and the size of a collection, or of a cluster.

    Attributes:
        segments: Files that hold rows; the shards of a cluster.
        version: Of a cluster: the version of the dataset.
        replicas: Of a cluster: replicas of its shards.
        ready: Of a cluster: those that answer.
        nodes: Of a cluster: nodes that these are on.
        requests: Of a cluster: counts of what was sent to the replicas.
    """

    name: str
    documents: int
    passages: int
    dim: int
    metric: Literal["cosine", "ip"]
    funnel: str
    encoder: Encoder | None
    split: Split | None
    title_weight: int
    fields: list[str]
    segments: int
    pending: int
    removed: int
    memory: dict[str, int]
    disk: int
    cells: CellSettings | None
    version: int | UnsetType = UNSET
    replicas: int | UnsetType = UNSET
    ready: int | UnsetType = UNSET
    nodes: int | UnsetType = UNSET
    requests: dict[str, int] | UnsetType = UNSET


class Collections(Answer):
    """The collections that the key is for."""

    collections: list[CollectionInfo]


class Removed(Answer):
    """A collection was removed."""

    deleted: bool


class Trial(Answer):
    """One way to store and search the rows, measured."""

    funnel: str
    cells: CellSettings | None
    centred: bool
    rotated: bool
    recall: float
    at_least: float
    queries_per_second: float
    latency_ms: float
    bytes_per_row: float
    reaches: bool


class TuneReport(Answer):
    """All that a tuning measured, and what it chose."""

    target: float
    k: int
    prefer: Literal["throughput", "latency"]
    reached: bool
    chosen: Trial
    before: Trial
    trials: list[Trial]
    queries: int
    held_out: bool
    rows: int
    threads: int
    seconds: float
    notes: list[str]


class CheckReport(Answer):
    """What a check found."""

    problems: list[str]
    documents: int
    rows: int
    segments: int
    orphans: list[str]


class CompactResult(Answer):
    """What a compaction did."""

    segments: int
    freed: int


class Backup(Answer):
    """The name of a backup."""

    backup: str


class Rejected(Answer):
    """A document that was left out, by its position or line, and why."""

    line: int | None
    reason: str


class AddResult(Answer):
    """What an addition did.

    Attributes:
        truncated: Passages that are longer than the encoder reads.
        ids: The documents' ids, in order.
        rejected: Documents that cannot be stored and were left out.
    """

    added: int
    replaced: int
    updated: int
    unchanged: int
    skipped: int
    passages: int
    truncated: int
    ids: list[str] | None
    rejected: list[Rejected]


class Document(Answer):
    """A document of a collection.

    Attributes:
        spans: Start and end of each of its passages, in code points of the text.
        row: Row of its first passage.
    """

    id: str
    text: str
    title: str
    metadata: dict[str, Any]
    spans: list[tuple[int, int]]
    row: int


class DocumentPage(Answer):
    """Documents in the order of storage.

    Attributes:
        next: What `after` must be for the next page; null on the last.
    """

    documents: list[Document]
    next: str | None


class FoundDocuments(Answer):
    """The documents of ids; null for unknown ones."""

    documents: list[Document | None]


class Deleted(Answer):
    """How many documents were removed."""

    deleted: int


class Count(Answer):
    """How many documents there are."""

    count: int


class RankedScore(Answer):
    """The place of a passage in one of two rankings."""

    rank: int
    score: float


class Snippet(Answer):
    """The part of a passage with the most words of the query.

    Attributes:
        text: The part.
        start: Its first code point in the passage.
        end: Its end, exclusive.
        highlights: Start and end, in the part, of the words of the query.
    """

    text: str
    start: int
    end: int
    highlights: list[tuple[int, int]]


class Hit(Answer):
    """A document that was found, by its best passage; what was not included is left out.

    Attributes:
        passage: Number of the passage in the document.
        start: First code point of the passage in the document.
        end: End of the passage, exclusive.
        highlights: Start and end of the words of the query in the passage, in code points.
    """

    id: str
    score: float
    passage: int
    text: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    start: int | UnsetType = UNSET
    end: int | UnsetType = UNSET
    highlights: list[tuple[int, int]] | UnsetType = UNSET
    snippet: Snippet | UnsetType = UNSET
    document: str | UnsetType = UNSET
    vector: list[float] | UnsetType = UNSET
    dense: RankedScore | UnsetType = UNSET
    lexical: RankedScore | UnsetType = UNSET


class Stage(Answer):
    """What a stage of a funnel did."""

    dims: int
    bits: int
    rows_seen: int
    rows_kept: int
    bytes_read: int
    microseconds: float


class Dropped(Answer):
    """A document of the exact result that a stage dropped."""

    id: str
    rank: int
    stage: int


class Explanation(Answer):
    """What a search did.

    Attributes:
        microseconds: Time of each step.
        allowed: Rows that passed the filter; null without one.
        margin: Where a query encoder decided whether to refine, its margin.
    """

    mode: str
    stages: list[Stage]
    dropped: list[Dropped]
    microseconds: dict[str, float]
    allowed: int | None
    segments: int
    margin: float | None


class SearchResult(Answer):
    """The hits of one query, best first.

    Attributes:
        coverage: Of a cluster: the share of the rows that was searched.
        late: Of a cluster: the shards that did not answer in time.
    """

    hits: list[Hit]
    coverage: float | UnsetType = UNSET
    late: list[str] | UnsetType = UNSET
    refined: bool | UnsetType = UNSET
    explanation: Explanation | UnsetType = UNSET


class SearchResults(Answer):
    """One result for each query."""

    results: list[SearchResult]


class DroppedTitle(Dropped, forbid_unknown_fields=True):
    """A document of the exact result that a stage dropped, with its title."""

    title: str


class Points(Answer):
    """Survivors on a plane, and the stage that dropped each; hits have the number of stages."""

    x: list[float]
    y: list[float]
    stage: list[int]
    id: list[str]
    title: list[str]


class Point(Answer):
    """A point of the plane."""

    x: float
    y: float


class FunnelReport(Answer):
    """What the stages of a funnel read, kept and dropped for one query.

    Attributes:
        recall: Share of the exact hits that the funnel found.
        latency_ms: Median time of the search.
        cells: Cells of the collection; 0 where all rows are searched.
    """

    stages: list[Stage]
    recall: float
    dropped: list[DroppedTitle]
    latency_ms: float
    cells: int
    points: Points
    query: Point


class Field(Answer):
    """A field of the metadata.

    Attributes:
        declared: Whether it has an index.
        in_lists: Whether some documents have lists of values.
        values: The most frequent ones.
    """

    name: str
    type: Literal["string", "number", "boolean", "mixed"]
    declared: bool
    in_lists: bool | UnsetType = msgspec.field(default=UNSET, name="list")
    min: float | UnsetType = UNSET
    max: float | UnsetType = UNSET
    values: list[Scalar] | UnsetType = UNSET


class Fields(Answer):
    """The fields of the metadata of a collection."""

    fields: list[Field]


class Embedding(Answer):
    """An embedding: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(Answer):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Answer):
    """The embeddings of texts."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Model(Answer):
    """An encoder, as OpenAI's API describes models.

    Attributes:
        nesting: Lengths of prefixes for which it was trained.
    """

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    dimensions: int
    nesting: list[int]
    max_tokens: int | None


class Models(Answer):
    """The encoders."""

    object: Literal["list"]
    data: list[Model]


class FileCounts(Answer):
    """How many documents a vector store has."""

    in_progress: int
    completed: int
    failed: int
    cancelled: int
    total: int


class VectorStore(Answer):
    """A collection as a vector store."""

    id: str
    object: Literal["vector_store"]
    created_at: int
    name: str
    usage_bytes: int
    file_counts: FileCounts
    status: Literal["completed"]
    expires_after: None
    expires_at: None
    last_active_at: None
    metadata: dict[str, str]


class VectorStores(Answer):
    """Vector stores."""

    object: Literal["list"]
    data: list[VectorStore]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedObject(Answer):
    """An object that was removed."""

    id: str
    object: Literal["vector_store.deleted", "vector_store.file.deleted", "file"]
    deleted: bool


class StoreFile(Answer):
    """A document as a file of a vector store."""

    id: str
    object: Literal["vector_store.file"]
    created_at: int
    vector_store_id: str
    status: Literal["completed"]
    usage_bytes: int
    last_error: None
    attributes: dict[str, Scalar]


class StoreFiles(Answer):
    """Files of a vector store."""

    object: Literal["list"]
    data: list[StoreFile]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileBatch(Answer):
    """Files that became documents together."""

    id: str
    object: Literal["vector_store.files_batch"]
    created_at: int
    vector_store_id: str
    status: Literal["completed"]
    file_counts: FileCounts


class Content(Answer):
    """A text."""

    type: Literal["text"]
    text: str


class StoreFileContent(Answer):
    """The text of a document."""

    object: Literal["vector_store.file_content.page"]
    data: list[Content]
    has_more: bool
    next_page: None


class StoreHit(Answer):
    """A document that was found.

    Attributes:
        score: From 0 to 1.
    """

    file_id: str
    filename: str
    score: float
    attributes: dict[str, Scalar]
    content: list[Content]


class StoreHits(Answer):
    """Documents that were found."""

    object: Literal["vector_store.search_results.page"]
    search_query: list[str]
    data: list[StoreHit]
    has_more: bool
    next_page: None


class File(Answer):
    """A text that was uploaded."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"]


class Files(Answer):
    """Texts that were uploaded."""

    object: Literal["list"]
    data: list[File]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ApiVersion(Answer):
    """The version of Cohere's API."""

    version: str


class BilledUnits(Answer):
    """Tokens that were read."""

    input_tokens: int


class Meta(Answer):
    """Facts about an answer, as Cohere has them."""

    api_version: ApiVersion
    billed_units: BilledUnits


class EmbeddingForms(Answer):
    """Embeddings in the forms that were requested."""

    floats: list[list[float]] | UnsetType = msgspec.field(default=UNSET, name="float")
    int8: list[list[int]] | UnsetType = UNSET
    uint8: list[list[int]] | UnsetType = UNSET
    binary: list[list[int]] | UnsetType = UNSET
    ubinary: list[list[int]] | UnsetType = UNSET
    base64: list[str] | UnsetType = UNSET


class EmbedAnswer(Answer):
    """Embeddings, as Cohere has them."""

    id: str
    embeddings: EmbeddingForms
    texts: list[str]
    meta: Meta


class OlderEmbedAnswer(Answer):
    """Embeddings, as the first version of Cohere's API has them.

    Attributes:
        embeddings: Lists of numbers where no forms were requested.
        response_type: Which of both they are.
    """

    id: str
    embeddings: list[list[float]] | EmbeddingForms
    texts: list[str]
    meta: Meta
    response_type: Literal["embeddings_floats", "embeddings_by_type"]


class Text(Answer):
    """The text of a document."""

    text: str


class Relevance(Answer):
    """How well a document fits a query."""

    index: int
    relevance_score: float
    document: Text | UnsetType = UNSET


class RerankAnswer(Answer):
    """Documents in the order of their relevance, as Cohere has them."""

    id: str
    results: list[Relevance]
    meta: Meta


class Score(Answer):
    """How well a document fits a query, as TEI has it."""

    index: int
    score: float
    text: str | UnsetType = UNSET


class Info(Answer):
    """The first encoder, as TEI describes it."""

    model_id: str
    model_sha: str | None
    model_dtype: str | None
    model_type: dict[str, Any]
    max_input_length: int | None
    max_batch_tokens: int
    max_client_batch_size: int
    auto_truncate: bool
    version: str

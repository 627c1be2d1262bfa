"""Files in, documents out: text, Markdown, JSON lines, CSV and Parquet, read as streams."""

from nestling.corpus.fields import Document, Fields
from nestling.corpus.lines import read_lines
from nestling.corpus.log import ReadLog
from nestling.corpus.readers import read_documents, read_stream
from nestling.corpus.stdlib_docs import read_stdlib_docs
from nestling.inputs.bad_records import BadRecord

__all__ = [
    "BadRecord",
    "Document",
    "Fields",
    "ReadLog",
    "read_documents",
    "read_lines",
    "read_stdlib_docs",
    "read_stream",
]

"""Answers of a server as the objects that a local collection returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from nestling.collection import (
    CollectionInfo,
    DocumentHit,
    DocumentHits,
    DroppedHit,
    EncoderIdentity,
    Explanation,
    Passages,
    RankedScore,
    Snippet,
    StoredDocument,
)
from nestling.errors import ServerError
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel
from nestling.index.hits import StageStats
from nestling.tuning import Trial, TuneReport

__all__ = ["document_of", "hits_of", "hits_of_bytes", "info_of", "report_of"]


def document_of(answer: Mapping[str, Any]) -> StoredDocument:
    """Returns a document."""
    return StoredDocument(
        answer["id"],
        answer["text"],
        answer["title"],
        answer["metadata"],
        [(start, end) for start, end in answer["spans"]],
        answer["row"],
    )


def hits_of(answer: Mapping[str, Any]) -> DocumentHits:
    """Returns the hits of one query."""
    explanation = answer.get("explanation")
    return DocumentHits(
        tuple(_hit(hit) for hit in answer["hits"]),
        None if explanation is None else _explanation(explanation),
        answer.get("refined", False),
        answer.get("coverage", 1.0),
        tuple(answer.get("late", ())),
    )


def hits_of_bytes(data: bytes, queries: int) -> list[DocumentHits]:
    """Returns hits that came as bytes.

    Little-endian: uint32 of hits for each query; for each hit the score as float32, the passage as
    uint32, the length of the id as uint32; the ids in UTF-8. From a cluster, JSON follows: a list
    with what was searched for each query.

    Raises:
        ServerError: The bytes do not have this form.
    """
    try:
        counts = np.frombuffer(data, "<u4", queries)
        hits = int(counts.sum())
        scores = np.frombuffer(data, "<f4", hits, 4 * queries).tolist()
        passages = np.frombuffer(data, "<u4", hits, 4 * (queries + hits)).tolist()
        lengths = np.frombuffer(data, "<u4", hits, 4 * (queries + 2 * hits))
        start = 4 * (queries + 3 * hits)
        ends = (start + np.cumsum(lengths)).tolist()
        behind = data[ends[-1] if ends else start :]
        if ends and ends[-1] > len(data):
            raise ValueError("their length is wrong")
        searched = json.loads(behind) if behind else [{}] * queries
        found = []
        for end, score, passage in zip(ends, scores, passages, strict=True):
            id = data[start:end].decode()
            found.append(DocumentHit(id, score, None, None, None, passage))
            start = end
        parts, first = [], 0
        for count, of in zip(counts.tolist(), searched, strict=True):
            some = tuple(found[first : first + count])
            late = tuple(of.get("late", ()))
            parts.append(DocumentHits(some, coverage=of.get("coverage", 1.0), late=late))
            first += count
    except (ValueError, TypeError, AttributeError) as error:
        raise ServerError(f"the server's answer is not hits: {error}") from None
    return parts


def info_of(answer: Mapping[str, Any]) -> CollectionInfo:
    """Returns the facts about a collection."""
    encoder, split, cells = answer["encoder"], answer["split"], answer["cells"]
    return CollectionInfo(
        answer["documents"],
        answer["passages"],
        answer["dim"],
        answer["metric"],
        Funnel.parse(answer["funnel"]),
        None if encoder is None else EncoderIdentity(**encoder),
        None if split is None else Passages(**split),
        answer["title_weight"],
        tuple(answer["fields"]),
        answer["segments"],
        answer["pending"],
        answer["removed"],
        answer["memory"],
        answer["disk"],
        None if cells is None else Cells(**cells),
    )


def report_of(answer: Mapping[str, Any]) -> TuneReport:
    """Returns a report of a tuning."""
    trials = [_trial(one) for one in (answer["chosen"], answer["before"], *answer["trials"])]
    values = {
        **answer,
        "chosen": trials[0],
        "before": trials[1],
        "trials": tuple(trials[2:]),
        "notes": tuple(answer["notes"]),
    }
    return TuneReport(**values)


def _trial(answer: Mapping[str, Any]) -> Trial:
    cells = answer["cells"]
    return Trial(**{**answer, "cells": None if cells is None else Cells(**cells)})


def _hit(hit: Mapping[str, Any]) -> DocumentHit:
    vector = hit.get("vector")
    return DocumentHit(
        hit["id"],
        hit["score"],
        hit.get("text"),
        hit.get("title"),
        hit.get("metadata"),
        hit["passage"],
        hit.get("start"),
        hit.get("end"),
        tuple((start, end) for start, end in hit.get("highlights", ())),
        hit.get("document"),
        None if vector is None else np.array(vector, np.float32),
        _ranked(hit.get("dense")),
        _ranked(hit.get("lexical")),
        None if "snippet" not in hit else _snippet(hit["snippet"]),
    )


def _snippet(answer: Mapping[str, Any]) -> Snippet:
    highlights = tuple((start, end) for start, end in answer["highlights"])
    return Snippet(answer["text"], answer["start"], answer["end"], highlights)


def _ranked(answer: Mapping[str, Any] | None) -> RankedScore | None:
    return None if answer is None else RankedScore(answer["rank"], answer["score"])


def _explanation(answer: Mapping[str, Any]) -> Explanation:
    return Explanation(
        answer["mode"],
        tuple(StageStats(**stage) for stage in answer["stages"]),
        tuple(DroppedHit(**dropped) for dropped in answer["dropped"]),
        answer["microseconds"],
        answer["allowed"],
        answer["segments"],
        answer["margin"],
    )

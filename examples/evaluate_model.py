"""Measure how much of a model's quality its prefixes, their codes and funnels keep.

    python examples/evaluate_model.py
    python examples/evaluate_model.py --model wordllama --dims 256,64 --funnel "64@4:100 > 256@16"

The test collection is made on the fly, in the layout of BEIR, from the documentation of your own
Python: the question is the first sentence of a docstring, and the document that answers it is the
rest. With --folder, a collection of your own is measured instead.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import nestling
from nestling.corpus import read_stdlib_docs
from nestling.evaluation import EvaluationSettings, evaluate, read_dataset


def write_dataset(folder: Path, limit: int) -> None:
    """Writes corpus.jsonl, queries.jsonl and qrels/test.tsv."""
    corpus: list[dict[str, str]] = []
    queries: list[dict[str, str]] = []
    judgements = ["query-id\tcorpus-id\tscore"]
    for document in read_stdlib_docs():
        question, _, answer = document.text.partition(". ")
        if len(question.split()) < 5 or len(answer.split()) < 5:
            continue
        number = len(corpus)
        corpus.append({"_id": f"d{number}", "text": answer})
        queries.append({"_id": f"q{number}", "text": question})
        judgements.append(f"q{number}\td{number}\t1")
        if len(corpus) == limit:
            break
    (folder / "qrels").mkdir(parents=True)
    for name, records in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("\n".join(judgements) + "\n", encoding="utf-8")


def main() -> None:
    """Makes or reads the collection, measures, and prints a table."""
    parser = argparse.ArgumentParser(description="Measure what prefixes and funnels keep.")
    parser.add_argument("--folder", type=Path, help="a collection in the layout of BEIR")
    parser.add_argument("--limit", type=int, default=300, help="questions at most")
    parser.add_argument("--model", default="minilm", help="a built-in model, a folder, a hub id")
    parser.add_argument("--dims", help="prefixes, such as 384,128,64; default: the model's own")
    parser.add_argument("--funnel", action="append", help="default: that of a new index")
    options = parser.parse_args()
    dims = [int(length) for length in options.dims.split(",")] if options.dims else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder
        if folder is None:
            folder = Path(temporary, "python-docs")
            write_dataset(folder, options.limit)
        dataset = read_dataset(folder, limit=options.limit)
    encoder = nestling.Encoder(options.model)
    settings = EvaluationSettings(dims=dims, bits=[32, 4], funnels=options.funnel, rounds=0)
    table = evaluate(encoder, dataset, settings)
    print(f"{dataset}\n")
    print(f"{'system':<40} {table.main_metric:>8} {'kept':>7} {'bytes a row':>12}")
    for row in table.rows:
        quality, kept = row.metrics[table.main_metric], row.kept or 0.0
        print(f"{row.system:<40} {quality:8.3f} {kept:7.1%} {row.bytes_per_row:12,.0f}")


if __name__ == "__main__":
    main()

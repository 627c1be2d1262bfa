"""Any sequence of changes matches a plain dictionary, with exact searches."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from collection_helpers import (
    WORDS,
    Model,
    assert_searches_agree,
    assert_whole,
    assert_words_agree,
    contents,
    opened,
)
from filter_oracle import matches
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from nestling.collection.storage import store
from nestling.collection.upkeep import compaction

IDS = st.sampled_from([f"id{i}" for i in range(12)] + ["7", "مقال"])
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=30).map(
    lambda words: " ".join(word + " ." * (place % 5 == 4) for place, word in enumerate(words))
)
TITLES = st.sampled_from(["", "", "river", "كتاب"])
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "year": st.sampled_from([2019, 2020, 2020.5, None, "2020"]),
        "lang": st.sampled_from(["ar", "en"]),
        "a": st.sampled_from([{"b": 1}, {"b": "x"}, [1, 2], True]),
    },
)
DOCUMENTS = st.lists(
    st.tuples(IDS, st.builds(Model, TEXTS, TITLES, METADATA)), min_size=1, max_size=8
)
FILTERS: list[dict[str, Any]] = [
    {},
    {"year": {"$gte": 2020}},
    {"year": None},
    {"lang": "ar"},
    {"lang": {"$ne": "ar"}},
    {"a.b": 1},
    {"$or": [{"a": {"$contains": 2}}, {"lang": {"$in": ["en", "fr"]}}]},
]
FIELDS = st.sampled_from(["year", "lang", "a.b", "a"])


def as_mappings(documents: list[tuple[str, Model]]) -> list[dict[str, Any]]:
    return [{"id": id, **model._asdict()} for id, model in documents]


class Machine(RuleBasedStateMachine):
    """A collection, and the dictionary that it must match."""

    @initialize()
    def make(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(store, "PENDING_ROWS", 10)
        self.patch.setattr(compaction, "_MIN_SIZE", 10)
        self.patch.setattr(compaction, "FAN", 2)
        self.folder = Path(tempfile.mkdtemp())
        self.collection = opened(self.folder / "c", fields=["lang"])
        self.reader = opened(self.folder / "c")
        self.model: dict[str, Model] = {}
        self.copies = 0

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.collection.close()
            self.reader.close()
            shutil.rmtree(self.folder)
            self.patch.undo()

    @rule(documents=DOCUMENTS)
    def add(self, documents: list[tuple[str, Model]]) -> None:
        last = dict(documents)
        same = {id for id, model in last.items() if self.model.get(id) == model}
        added = self.collection.upsert(as_mappings(documents))
        assert added.ids == [id for id, _ in documents]
        assert len(added) == len(documents)
        assert added.added == len(last.keys() - self.model.keys())
        assert added.unchanged >= len(same)
        assert added.replaced + added.updated == len(last) - len(same) - added.added
        self.model |= last

    @rule(documents=DOCUMENTS)
    def add_what_is_new(self, documents: list[tuple[str, Model]]) -> None:
        self.collection.add(as_mappings(documents), on_conflict="skip")
        for id, model in documents:
            self.model.setdefault(id, model)

    @rule(metadata=METADATA, data=st.data())
    def change_metadata(self, metadata: Mapping[str, Any], data: st.DataObject) -> None:
        if self.model:
            id = data.draw(st.sampled_from(sorted(self.model)))
            changed = self.model[id]._replace(metadata=metadata)
            added = self.collection.add(as_mappings([(id, changed)]))
            assert added.replaced == added.added == added.passages == 0
            self.model[id] = changed

    @rule(ids=st.lists(IDS, max_size=5))
    def delete(self, ids: list[str]) -> None:
        assert self.collection.delete(ids) == len(set(ids) & self.model.keys())
        self.model = {id: model for id, model in self.model.items() if id not in ids}

    @rule(where=st.sampled_from(FILTERS))
    def delete_where(self, where: dict[str, Any]) -> None:
        gone = {id for id, model in self.model.items() if matches(model.metadata, where)}
        assert self.collection.delete(where=where) == len(gone)
        self.model = {id: model for id, model in self.model.items() if id not in gone}

    @rule()
    def compact(self) -> None:
        self.collection.compact()

    @rule()
    def compact_in_background(self) -> None:
        self.collection.compact(wait=False).result(30)

    @rule(field=FIELDS)
    def declare(self, field: str) -> None:
        self.collection.declare(field)
        assert field in self.collection.fields

    @rule()
    def reopen(self) -> None:
        self.collection.close()
        self.collection = opened(self.folder / "c")

    @rule()
    def read_from_a_second_opening(self) -> None:
        """A second opening that skips some commits sees the last one."""
        assert contents(self.reader) == self.model
        assert_searches_agree(self.reader)

    @rule()
    def continue_with_a_backup(self) -> None:
        self.copies += 1
        self.collection.backup(self.folder / f"b{self.copies}")
        self.continue_with(self.folder / f"b{self.copies}")

    @rule(suffix=st.sampled_from([".jsonl", ".parquet"]))
    def continue_with_an_export(self, suffix: str) -> None:
        self.copies += 1
        path = self.folder / f"e{self.copies}{suffix}"
        if suffix == ".parquet":
            pytest.importorskip("pyarrow")
        assert self.collection.export(path) == len(self.model)
        copy = self.folder / f"i{self.copies}"
        with opened(copy, fields=list(self.collection.fields)) as imported:
            assert imported.import_file(path).added == len(self.model)
            assert not imported._encoder.get().texts, "what was exported was encoded again"
        self.continue_with(copy)

    def continue_with(self, path: Path) -> None:
        fields = self.collection.fields
        self.collection.close()
        self.reader.close()
        shutil.rmtree(self.folder / "c")
        path.rename(self.folder / "c")
        self.collection = opened(self.folder / "c")
        self.reader = opened(self.folder / "c")
        assert set(self.collection.fields) == set(fields)

    @invariant()
    def it_is_the_model(self) -> None:
        if not hasattr(self, "collection"):
            return
        assert contents(self.collection) == self.model
        assert len(self.collection) == len(self.model)
        for where in FILTERS:
            expected = {id for id, model in self.model.items() if matches(model.metadata, where)}
            assert self.collection.count(where) == len(expected)
            assert {d.id for d in self.collection.documents(where)} == expected
            hits = self.collection.search("apple river", 100, where)
            assert {hit.id for hit in hits} == expected
        assert_searches_agree(self.collection)
        assert_words_agree(self.collection, self.model)
        assert_whole(self.collection)


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_changes_match_a_dictionary() -> None:
    run(12, 12)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_very_many_changes_match_a_dictionary() -> None:
    run(200, 40)

"""The file format against a second reader and writer of it, with checksums made right again.

The layout is told in cpp/file.hpp. Files of other versions, and files that someone crafted, pass
the checksums; they must be refused all the same, or be harmless.
"""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nest_file import ENTRY, NestFile, xxh64
from nestling import FormatError, Index
from strategies import embeddings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    index = Index(13, funnel="6@4:20 > 9@8:10 > 13@16")
    index.add(embeddings(np.random.default_rng(0), 37, 13), ids=np.arange(37)[::-1] * 5)
    path = tmp_path_factory.mktemp("format") / "a.nest"
    index.save(path)
    return path.read_bytes()


def refused(content: bytes, path: Path, why: str) -> None:
    path.write_bytes(content)
    for verify in (True, False):
        with pytest.raises(FormatError, match=why) as caught:
            Index.load(path, verify=verify)
        assert str(path) in str(caught.value)


def test_the_file_is_laid_out_as_documented(data: bytes) -> None:
    file = NestFile.read(data)
    assert file.write() == data
    fields = json.loads(file.metadata)
    assert fields["dim"] == 13
    assert fields["metric"] == "cosine"
    assert fields["funnel"] == "6@4:20 > 9@8:10 > 13@16"
    assert fields["rows"] == 37
    ids = dict(file.sections)[b"ids"]
    np.testing.assert_array_equal(np.frombuffer(ids, "<i8"), np.arange(37)[::-1] * 5)


@pytest.mark.parametrize("version", [0, 3, 2**32 - 1])
def test_another_version_is_named(data: bytes, tmp_path: Path, version: int) -> None:
    file = replace(NestFile.read(data), version=version)
    refused(file.write(), tmp_path / "a.nest", f"version {version}.*versions 1 to 2")


def test_another_byte_order_is_named(data: bytes, tmp_path: Path) -> None:
    file = replace(NestFile.read(data), byte_order=0x04030201)
    refused(file.write(), tmp_path / "a.nest", "byte order")


def test_another_magic_is_foreign(data: bytes, tmp_path: Path) -> None:
    file = replace(NestFile.read(data), magic=b"nestlinh")
    refused(file.write(), tmp_path / "a.nest", "not a nestling file")


@pytest.mark.parametrize(
    "metadata",
    [b"", b"{", b"[]", b"3", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"kind": "index"}'],
    ids=lambda metadata: repr(metadata[:20]),
)
def test_metadata_that_make_no_index_are_refused(
    data: bytes, tmp_path: Path, metadata: bytes
) -> None:
    file = replace(NestFile.read(data), metadata=metadata)
    refused(file.write(), tmp_path / "a.nest", "metadata|no index")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "collection"),
        ("metric", "l2"),
        ("metric", None),
        ("dim", 0),
        ("dim", -13),
        ("dim", 12),
        ("dim", 1e9),
        ("dim", 2**70),
        ("dim", "13"),
        ("funnel", "13@3"),
        ("funnel", "9@8:10 > 13@16"),
        ("funnel", "6@4:20 > 9@8:10 > 14@16"),
        ("funnel", None),
        ("rows", -1),
        ("rows", 36),
        ("rows", 10**6),
        ("rows", 2**32),
        ("rows", 2**63 - 1),
        ("rows", 2**70),
        ("rows", "37"),
        ("rows", None),
        ("rows", 37.5),
    ],
)
def test_fields_that_do_not_fit_the_sections_are_refused(
    data: bytes, tmp_path: Path, field: str, value: object
) -> None:
    file = NestFile.read(data).with_fields(**{field: value})
    refused(file.write(), tmp_path / "a.nest", ".")


def test_every_section_must_be_there_and_whole(data: bytes, tmp_path: Path) -> None:
    file = NestFile.read(data)
    for i, (name, content) in enumerate(file.sections):
        for other in (b"", content[:-1], content + b"\0", content * 2):
            sections = list(file.sections)
            sections[i] = (name, other)
            altered = replace(file, sections=tuple(sections))
            refused(altered.write(), tmp_path / "a.nest", "section")
        if name != b"ids":  # without them, ids are row numbers
            fewer = replace(file, sections=file.sections[:i] + file.sections[i + 1 :])
            refused(fewer.write(), tmp_path / "a.nest", "section")


@given(data=st.data())
def test_a_crafted_table_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Sizes, counts and offsets that lie, up to those that overflow, with checksums that fit."""
    path = tmp_path_factory.mktemp("crafted") / "a.nest"
    index = Index(4, funnel="2@8:20 > 4@32")
    index.add(np.eye(4))
    index.save(path)
    content = bytearray(path.read_bytes())
    whole = bytes(content)
    places = [16, 24, 32, *(64 + ENTRY.size * i + j for i in range(2) for j in (16, 24))]
    liars = st.sampled_from([0, 1, 64, 2**31, 2**32, 2**63, 2**64 - 1, 2**64 - 64, 2**64 - 63])
    for place in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        struct.pack_into("<Q", content, place, data.draw(liars))
    metadata_size, count = struct.unpack_from("<2Q", content, 24)
    end = 64 + count * ENTRY.size + metadata_size
    if end <= len(content):
        struct.pack_into("<Q", content, 40, xxh64(bytes(content[64:end])))
    struct.pack_into("<Q", content, 56, xxh64(bytes(content[:56])))
    if bytes(content) != whole:
        refused(bytes(content), path, ".")


@given(seed=st.integers(0, 10**6))
def test_payloads_of_any_bytes_are_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, seed: int
) -> None:
    """Codes, scales, norms and ids at random, with checksums that fit: nonsense, but no crash."""
    rng = np.random.default_rng(seed)
    file = NestFile.read(data)
    sections = tuple((name, rng.bytes(len(content))) for name, content in file.sections)
    path = tmp_path_factory.mktemp("payload") / "a.nest"
    path.write_bytes(replace(file, sections=sections).write())
    try:
        loaded = Index.load(path)
    except FormatError:
        return
    hits = loaded.search(embeddings(rng, 3, 13), k=50)
    assert hits.ids.shape == (3, 50)
    try:
        loaded.add(embeddings(rng, 3, 13), ids=[1, 2, 3])
    except ValueError:
        return

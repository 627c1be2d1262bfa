"""The file format, read and written by a second implementation that repairs every checksum.

cpp/io/format.hpp documents the layout. Files of other versions, and crafted files, may have the
right checksums; they must be refused all the same, or be harmless.
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
from nestling import FormatError, Hits, IdError, Index
from nestling.index.cells import Cells
from oracle import same
from strategies import embeddings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    index = Index(13, funnel="6@4:20 > 9@8:10 > 13@16")
    index.add(embeddings(np.random.default_rng(0), 37, 13), ids=np.arange(37)[::-1] * 5)
    path = tmp_path_factory.mktemp("format") / "a.nest"
    index.save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> NestFile:
    """A file that has every section."""
    index = Index(13, funnel="6@4:20~3 > 9@8:15 > 13@16")
    index.add(embeddings(np.random.default_rng(0), 37, 13), ids=np.arange(37)[::-1] * 5)
    index.rebuild(rotate=True, centre=True, cells=Cells(3, probes=2, dims=5))
    index.add(embeddings(np.random.default_rng(1), 4, 13), ids=[1, 2, 3, 4])
    index.remove([3, 5])
    path = tmp_path_factory.mktemp("full") / "a.nest"
    index.save(path)
    return NestFile.read(path.read_bytes())


def refused(content: bytes, path: Path, why: str) -> None:
    path.write_bytes(content)
    for verify in (True, False):
        with pytest.raises(FormatError, match=why) as caught:
            Index.load(path, verify=verify)
        assert str(path) in str(caught.value)


def refused_in_time(file: NestFile, corrupted: NestFile, path: Path, why: str) -> None:
    """Verifying refuses the file; otherwise the searches that read the corrupted row do."""
    queries = embeddings(np.random.default_rng(3), 40, 13)
    path.write_bytes(file.write())
    intact = Index.load(path)
    path.write_bytes(corrupted.write())
    with pytest.raises(FormatError, match=why):
        Index.load(path)
    index = Index.load(path, verify=False)
    for where in (None, intact.ids[::2]):
        for query in (*queries, queries):
            hits = answer(index, query, where)
            assert hits is None or hits == answer(intact, query, where)


def answer(index: Index, query: np.ndarray, where: np.ndarray | None) -> Hits | None:
    """Returns the hits; None where the search met a row that does not exist."""
    try:
        return index.search(query, 20, where=where, probes=3)
    except FormatError as error:
        if "row that does not exist" not in str(error):
            raise
        return None


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


@pytest.mark.parametrize("version", [0, 2, 3, 2**32 - 1])
def test_another_version_is_named(data: bytes, tmp_path: Path, version: int) -> None:
    file = replace(NestFile.read(data), version=version)
    refused(file.write(), tmp_path / "a.nest", f"version {version}; this nestling reads version 1$")


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
def test_metadata_that_is_not_of_an_index_is_refused(
    data: bytes, tmp_path: Path, metadata: bytes
) -> None:
    file = replace(NestFile.read(data), metadata=metadata)
    refused(file.write(), tmp_path / "a.nest", "metadata|not an index")


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
            corrupted = replace(file, sections=tuple(sections))
            refused(corrupted.write(), tmp_path / "a.nest", "section")
        if name != b"ids":  # without them, ids are row numbers
            fewer = replace(file, sections=file.sections[:i] + file.sections[i + 1 :])
            refused(fewer.write(), tmp_path / "a.nest", "section")


@given(data=st.data())
def test_a_crafted_table_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Wrong sizes, counts and offsets, up to those that overflow, with the right checksums."""
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
    """Random codes, scales, norms and ids, with the right checksums: nonsense, but no crash."""
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
    assert set(hits.ids.ravel().tolist()) <= {-1, *loaded.ids.tolist()}
    try:
        loaded.add(embeddings(rng, 3, 13), ids=[1, 2, 3])
    except ValueError:
        return


@pytest.mark.parametrize("scale", [0x7F80, 0xFF80, 0x0000, 0x3B16])
def test_codes_behind_the_last_row_are_refused(data: bytes, tmp_path: Path, scale: int) -> None:
    """Otherwise a search would find a row that is not there and read behind the shells."""
    file = NestFile.read(data)
    coarse = np.frombuffer(dict(file.sections)[b"coarse"], "<u2").copy()
    assert (coarse[-27:] == 0x7FC0).all()  # 37 rows in two blocks of 32; scales end a block
    for lane in (-27, -1):
        altered = coarse.copy()
        altered[lane] = scale
        refused(
            file.with_sections(coarse=altered.tobytes()).write(),
            tmp_path / "a.nest",
            "codes of more rows than the index has",
        )


@pytest.mark.parametrize("funnel", ["13@8", "13@32", "6@4:20 > 13@32"])
def test_equal_rows_with_one_id_do_not_overflow_the_hits(tmp_path: Path, funnel: str) -> None:
    """Ties are broken by id, so that equal rows of one id all rank alike."""
    path = tmp_path / "a.nest"
    index = Index(13, funnel=funnel)
    index.add(np.tile(embeddings(np.random.default_rng(0), 1, 13), (100, 1)), ids=np.arange(1, 101))
    index.save(path)
    file = NestFile.read(path.read_bytes())
    path.write_bytes(file.with_sections(ids=np.full(100, 7, "<i8").tobytes()).write())
    loaded = Index.load(path)
    for count in (1, 2, 9):
        hits = loaded.search(embeddings(np.random.default_rng(1), count, 13), k=5)
        assert (hits.ids == 7).all()
        assert np.isfinite(hits.scores).all()


def test_negative_ids_of_a_corrupted_file_are_not_merged(tmp_path: Path) -> None:
    path = tmp_path / "a.nest"
    index = Index(13, funnel="13@16")
    index.add(np.eye(13), ids=np.arange(1, 14))
    index.save(path)
    file = NestFile.read(path.read_bytes())
    for lowest in (-1, -(2**63)):
        ids = np.arange(13, dtype="<i8")
        ids[0] = lowest
        path.write_bytes(file.with_sections(ids=ids.tobytes()).write())
        for shift in (-(2**63), 0, 2**63 - 1):
            with pytest.raises(IdError, match=f"id {lowest} shifted"):
                Index.merge([Index.load(path)], shifts=[shift])


# ---- what only some indexes have


def test_every_section_is_laid_out_as_documented(full: NestFile) -> None:
    assert full.version == 1
    sections = dict(full.sections)
    cells = json.loads(full.metadata)["cells"]
    assert cells == {
        "count": 3,
        "probes": 2,
        "adaptive": False,
        "spill": True,
        "dims": 5,
        "links": 10,
        "rows": 37,
        "centroid_blocks": [1],
    }
    alive = np.frombuffer(sections[b"alive"], "<u4")
    removed = [35, 39]  # 5 was row 35 of the first 37, 3 the third of the four after them
    assert [r for r in range(41) if not alive[r // 32] >> r % 32 & 1] == removed
    rotation = np.frombuffer(sections[b"rotation"], "<f4").reshape(13, 13)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(13), atol=1e-6)
    assert len(sections[b"centre"]) == 6 * 4
    assert len(sections[b"cell centre"]) == 5 * 4
    # Of 2 bits: a pair of tiles for 16 dimensions, 32 scales and 32 offsets.
    assert len(sections[b"centroids 0"]) == 128 + 64 + 64
    starts = np.frombuffer(sections[b"children 0"], "<u4")
    assert len(starts) == 33
    assert starts[0] == 0
    assert (np.diff(starts.astype(int)) >= 0).all()
    rows = np.frombuffer(sections[b"cell rows"], "<u4")
    assert len(rows) == 32 * starts[-1]
    assert set(rows.tolist()) == set(range(37))
    links = np.frombuffer(sections[b"links"], "<u4").reshape(37, 10)
    assert links.max() < 37
    own = np.arange(37)[:, np.newaxis]
    assert ((links != own).sum(axis=1) > 6).all(), "nearly all links lead to other rows"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("count", value)
            for value in (0, -1, 2, 4, 33, 38, 2**24, 2**24 + 1, 2**32, 2**63, 2**70)
        ),
        *(("count", value) for value in ("3", None, 3.0, [3])),
        *(("probes", value) for value in (-1, 4, 2**63, "2", None, 1.5)),
        *(("dims", value) for value in (-1, 0, 14, 2**32, 2**63 - 1, 2**64 - 1, 2**70, "5", 5.0)),
        *(("spill", value) for value in ("x", [], None)),
        *(("adaptive", value) for value in ("x", 1, None)),
        *(("typical", value) for value in ("x", None, True, float("nan"), float("inf"))),
        *(("halving", value) for value in (-1, "x", None, True, float("nan"))),
        *(
            ("rows", value)
            for value in (-1, 0, 2, 5, 36, 42, 2**32, 2**63 - 1, 2**64 - 1, "37", None)
        ),
        *(("links", value) for value in (-1, 0, 9, 11, 257, 2**63, 2**70, "16", None, 1.5)),
        *(
            ("centroid_blocks", value)
            for value in (
                [],
                [0],
                [2],
                [-1],
                [2**63],
                [2**64],
                [1, 1],
                [1] * 9,
                1,
                "1",
                None,
                [1.5],
            )
        ),
        ("colour", "red"),
    ],
)
def test_cells_that_do_not_fit_are_refused(
    full: NestFile, tmp_path: Path, field: str, value: object
) -> None:
    cells = json.loads(full.metadata)["cells"] | {field: value}
    refused(full.with_fields(cells=cells).write(), tmp_path / "a.nest", ".")


@pytest.mark.parametrize("cells", ["cells", 3, [1], [["count", 3]], {"probes": 2}, True])
def test_cells_of_another_type_are_refused(full: NestFile, tmp_path: Path, cells: object) -> None:
    refused(full.with_fields(cells=cells).write(), tmp_path / "a.nest", ".")


def words(*values: int) -> bytes:
    return np.array(values, "<u4").tobytes()


@pytest.mark.parametrize(
    "starts",
    [
        (0, 2, 1, 3),
        (1, 1, 2, 3),
        (0, 1, 2, 2),
        (0, 1, 2, 2**26),
        (0, 1, 2, 2**27),
        (0, 2**32 - 1, 2**32 - 1, 2**32 - 1),
        (0, 2**32 - 1, 0, 3),
        (3, 2, 1, 0),
        (0, 0, 0, 0),
        (0, 1, 2),
        (0, 1, 2, 3, 3),
        (),
    ],
    ids=str,
)
def test_cells_that_do_not_follow_one_another_are_refused(
    full: NestFile, tmp_path: Path, starts: tuple[int, ...]
) -> None:
    absent = starts[-1:] * 29 if len(starts) == 4 else ()  # of the slots behind the three cells
    corrupted = full.with_sections(children_0=words(*starts, *absent))
    refused(corrupted.write(), tmp_path / "a.nest", "cell|section")


def test_a_slot_without_a_centroid_has_no_children(full: NestFile, tmp_path: Path) -> None:
    starts = np.frombuffer(dict(full.sections)[b"children 0"], "<u4").copy()
    starts[3:10] = starts[2]
    refused(
        full.with_sections(children_0=starts.tobytes()).write(), tmp_path / "a.nest", "centroid"
    )


@pytest.mark.parametrize("row", [37, 41, 2**31, 2**32 - 1])
@pytest.mark.parametrize("link", [0, 17, -1])
def test_links_to_rows_that_are_not_in_cells_are_refused(
    full: NestFile, tmp_path: Path, row: int, link: int
) -> None:
    links = np.frombuffer(dict(full.sections)[b"links"], "<u4").copy()
    links[link] = row
    corrupted = full.with_sections(links=links.tobytes())
    refused_in_time(full, corrupted, tmp_path / "a.nest", "linked")


@pytest.mark.parametrize("value", [2.0, -1e30, np.inf, np.nan])
def test_a_centre_of_cells_that_is_not_a_mean_is_refused(
    full: NestFile, tmp_path: Path, value: float
) -> None:
    centre = np.frombuffer(dict(full.sections)[b"cell centre"], "<f4").copy()
    centre[1] = value
    refused(full.with_sections(cell_centre=centre.tobytes()).write(), tmp_path / "a.nest", "centre")


@pytest.mark.parametrize("row", [37, 38, 41, 2**31, 2**32 - 1])
@pytest.mark.parametrize("slot", [0, 17, -1])
def test_cells_with_rows_that_are_not_there_are_refused(
    full: NestFile, tmp_path: Path, row: int, slot: int
) -> None:
    """Rows 37 to 40 are there, but came after the cells."""
    rows = np.frombuffer(dict(full.sections)[b"cell rows"], "<u4").copy()
    rows[slot] = row
    corrupted = full.with_sections(cell_rows=rows.tobytes())
    refused_in_time(full, corrupted, tmp_path / "a.nest", "row that does not exist")


def test_optional_sections_must_be_whole(full: NestFile, tmp_path: Path) -> None:
    for name, content in full.sections:
        key = name.decode().replace(" ", "_")
        for other in (b"", content[:-1], content[:-4], content + bytes(4), content * 2):
            corrupted = full.with_sections(**{key: other})
            refused(corrupted.write(), tmp_path / "a.nest", "section")
        if name not in (b"ids", b"alive", b"rotation", b"centre"):  # which need not be there
            refused(full.with_sections(**{key: None}).write(), tmp_path / "a.nest", "section")


def test_what_only_some_indexes_have_is_refused_in_others(tmp_path: Path, full: NestFile) -> None:
    path = tmp_path / "a.nest"
    refused(full.with_fields(metric="ip").write(), path, "margin|centred")
    for funnel in ("6@4:20~0.5 > 9@8:15 > 13@16", "6@4:20~1001 > 9@8:15 > 13@16"):
        refused(full.with_fields(funnel=funnel).write(), path, "margin")
    index = Index(13, funnel="13@16")
    index.add(np.eye(13))
    index.save(path)
    plain = NestFile.read(path.read_bytes())
    sections = dict(full.sections)
    extra = tuple((name, sections[name]) for name in sections if name.startswith(b"cell"))
    cells = json.loads(full.metadata)["cells"] | {"rows": 13}
    file = replace(plain, sections=plain.sections + extra).with_fields(cells=cells)
    refused(file.write(), path, "codes")
    centred = replace(plain, sections=(*plain.sections, (b"centre", bytes(13 * 4))))
    refused(centred.write(), path, "centred")


def test_bits_behind_the_last_row_mean_nothing(full: NestFile, tmp_path: Path) -> None:
    path = tmp_path / "a.nest"
    path.write_bytes(full.write())
    queries = embeddings(np.random.default_rng(2), 3, 13)
    expected = Index.load(path).search(queries, k=50)
    alive = np.frombuffer(dict(full.sections)[b"alive"], "<u4").copy()
    for beyond in (0, 0xAAAAAAAA):
        alive[-1] = alive[-1] & 0x1FF | beyond & ~0x1FF
        path.write_bytes(full.with_sections(alive=alive.tobytes()).write())
        loaded = Index.load(path)
        assert len(loaded) == 39
        same(loaded.search(queries, k=50), expected)
        loaded.compact()
        same(loaded.search(queries, k=50, probes=0), expected)


@pytest.mark.parametrize("scale", [0x7F80, 0xFF80, 0x0000, 0x3B16])
def test_scales_behind_the_last_centroid_must_be_nan(
    full: NestFile, tmp_path: Path, scale: int
) -> None:
    """Otherwise a search would find a cell that does not exist."""
    content = np.frombuffer(dict(full.sections)[b"centroids 0"], "<u2").copy()
    scales = slice(64, 96)  # behind a pair of tiles
    assert (content[scales][3:] == 0x7FC0).all()
    for lane in (3, 31):
        corrupted = content.copy()
        corrupted[scales][lane] = scale
        file = full.with_sections(centroids_0=corrupted.tobytes())
        refused(file.write(), tmp_path / "a.nest", "centroid")
    content[scales][2] = 0x7FC0
    file = full.with_sections(centroids_0=content.tobytes())
    refused(file.write(), tmp_path / "a.nest", "centroid")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> NestFile:
    """A file of so many rows that stages select what they keep, instead of sorting it."""
    index = Index(13, funnel="6@4:300~50 > 9@16:200 > 13@32")
    index.add(embeddings(np.random.default_rng(0), 370, 13), ids=np.arange(370))
    index.rebuild(rotate=True, centre=True, cells=Cells(9, probes=2))
    index.add(embeddings(np.random.default_rng(1), 30, 13))
    index.remove([3, 5])
    path = tmp_path_factory.mktemp("large") / "a.nest"
    index.save(path)
    return NestFile.read(path.read_bytes())


@pytest.mark.parametrize("value", [0.0, 1.5, 1e18, -3e38, np.inf, -np.inf, np.nan])
def test_a_transform_that_would_overflow_is_refused(
    full: NestFile, tmp_path: Path, value: float
) -> None:
    """Otherwise a rotated query could have values that are not finite."""
    rotation = np.frombuffer(dict(full.sections)[b"rotation"], "<f4").reshape(13, 13).copy()
    rotation[4] = value
    centre = np.frombuffer(dict(full.sections)[b"centre"], "<f4").copy()
    centre[2] = value or 1.1
    for name, content in (("rotation", rotation), ("centre", centre)):
        file = full.with_sections(**{name: content.tobytes()})
        refused(file.write(), tmp_path / "a.nest", name)


# Sections whose content must hold together, and is checked when a file is opened.
CHECKED = (b"children 0", b"cell rows", b"links", b"rotation", b"centre")


@given(seed=st.integers(0, 10**6))
def test_payloads_of_any_bytes_in_optional_sections_are_harmless(
    tmp_path_factory: pytest.TempPathFactory, large: NestFile, seed: int
) -> None:
    """Some sections are random bytes, or have NaNs in them: nonsense, but no crash."""
    rng = np.random.default_rng(seed)
    changes = {}
    for name, content in large.sections:
        values = np.frombuffer(content, np.uint8).copy()
        kind = rng.integers(4)
        if kind == 1 and name not in CHECKED:
            values = rng.integers(0, 256, len(content), dtype=np.uint8)
        elif kind == 2 and name not in CHECKED:
            pairs = values[: len(values) // 2 * 2].view("<u2")
            pairs[rng.random(len(pairs)) < 0.05] = rng.choice([0x7FFF, 0x7FC0, 0x7C00, 0xFF80])
        changes[name.decode().replace(" ", "_")] = values.tobytes()
    path = tmp_path_factory.mktemp("payload") / "a.nest"
    path.write_bytes(large.with_sections(**changes).write())
    try:
        loaded = Index.load(path, verify=bool(rng.integers(2)))
    except FormatError:
        return
    ids = loaded.ids.tolist()
    for count in (1, 5):
        for probes in (None, 0, 9):
            for where in (None, rng.permutation(400)[:150]):
                queries = embeddings(rng, count, 13)
                hits = loaded.search(queries, k=80, probes=probes, where=where)
                assert hits.ids.shape == (count, 80)
                assert set(hits.ids.ravel().tolist()) <= {-1, *ids}

"""Datasets on an S3 server, by s3fs: the same files and the same rules as on a local disk."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec")
pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

from cluster_files import documents, inline, write_jsonl

from nestling import Collection, FormatError, cluster
from nestling.cluster import Dataset, ShardCache, upkeep
from nestling.cluster.storage import Storage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, Any]]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        found = {
            "key": "key",
            "secret": "secret",
            "client_kwargs": {
                "endpoint_url": f"http://127.0.0.1:{port}",
                "region_name": "eu-west-1",
            },
        }
        import s3fs

        s3fs.S3FileSystem(**found).mkdir("bucket")
        yield found
    finally:
        server.stop()


def test_a_file_is_created_once(options: dict[str, Any]) -> None:
    folder = Storage("s3://bucket/files", options)
    folder.create("one", b"first")
    folder.create("one", b"first")
    with pytest.raises(FileExistsError):
        folder.create("one", b"second")
    assert folder.read("one") == b"first"
    assert folder.read("one", 1, 3) == b"ir"
    assert folder.list() == ["one"]
    assert (folder.exists("one"), folder.exists("two"), folder.size("one")) == (True, False, 5)
    with pytest.raises(FileNotFoundError):
        folder.read("two")
    folder.remove("one")
    assert folder.list() == []


def test_a_dataset_on_s3_is_built_changed_and_checked(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline(monkeypatch, upkeep)
    source = write_jsonl(tmp_path / "a.jsonl", documents(60))
    bucket = Storage("s3://bucket", options)
    bucket.put(source, "texts/a.jsonl")
    path = "s3://bucket/dataset"
    built = cluster.build(
        "s3://bucket/texts/*.jsonl",
        path,
        shards=3,
        source_options=options,
        storage_options=options,
    ).manifest
    local = cluster.build(source, tmp_path / "local", shards=3).manifest
    assert [[file.checksum for file in shard.files] for shard in built.shards] == [
        [file.checksum for file in shard.files] for shard in local.shards
    ]
    dataset = Dataset.open(path, storage_options=options)

    def commit(number: int) -> None:
        dataset.commit(
            lambda old: replace(old, version=old.version + 1, builds=(*old.builds, str(number)))
        )

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(commit, range(6)))
    assert dataset.versions() == list(range(1, 8))
    assert len(dataset.manifest().builds) == 7

    after = cluster.delete(path, ["d5", "d50"], storage_options=options)
    assert (after.documents, after.version) == (58, 8)
    merged = cluster.compact(path, shard_rows=100, storage_options=options)
    assert cluster.check(path, storage_options=options).ok
    cache = ShardCache(tmp_path / "cache")
    with (
        cache.fetch(dataset, merged.shards[0]) as fetched,
        Collection(fetched.folder, create=False) as shard,
    ):
        assert [document.id for document in shard] == [
            f"d{n}" for n in range(60) if n not in (5, 50)
        ]
    assert cluster.prune(path, storage_options=options) > 0
    assert dataset.versions() == [9]

    name = merged.shards[0].files[0].name
    dataset.storage.write(name, b"other")
    assert name in cluster.check(path, storage_options=options).problems[0]
    with (
        pytest.raises(FormatError, match="corrupted"),
        ShardCache(tmp_path / "new").fetch(dataset, merged.shards[0]),
    ):
        pass

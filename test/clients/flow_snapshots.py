"""Snapshots: made, listed, downloaded, restored from a file, from a URL and by upload, deleted."""

import hashlib
import os
import re
import time

import numpy as np
from flow_support import KEY, SERVER_URL, SNAPSHOTS, client, fresh, raw, refused, same, scroll_all
from qdrant_client import models

random = np.random.default_rng(7)


def filled(name: str, shards: int) -> str:
    """With points of every kind of id, an index, a deleted and a rewritten point."""
    fresh(name, {"a": models.VectorParams(size=6, distance=models.Distance.COSINE), "b": models.VectorParams(size=2, distance=models.Distance.DOT, datatype=models.Datatype.UINT8)}, shard_number=shards)
    client.create_payload_index(name, "group", models.PayloadSchemaType.KEYWORD)
    ids = [*range(30), 2**64 - 1, "30000000-0000-4000-8000-000000000003"]
    client.upsert(name, [models.PointStruct(id=key, vector={"a": random.normal(size=6).tolist(), "b": [number, 3]}, payload={"group": f"g{number % 3}", "f": 1.0, "n": 2**60}) for number, key in enumerate(ids)])
    client.delete(name, [4, 5])
    client.upsert(name, [models.PointStruct(id=6, vector={"b": [200, 100]}, payload={"again": [None, 1.5]})])
    client.create_payload_index(name, "f", models.PayloadSchemaType.FLOAT)
    return name


def state(name: str) -> tuple:
    """All that a restore must bring back."""
    info = client.get_collection(name)
    points = scroll_all(name, with_vectors=True)
    hits = client.query_points(name, query=[1, 0, 0, 0, 0, 0], using="a", limit=10, with_payload=True).points
    groups = [client.count(name, count_filter=models.Filter(must=[models.FieldCondition(key="group", match=models.MatchValue(value=f"g{i}"))])).count for i in range(3)]
    return info.config.params, info.payload_schema, info.points_count, repr([(point.id, point.vector, point.payload) for point in points]), [(hit.id, hit.score) for hit in hits], groups


def make_and_list() -> None:
    name = filled("snap", 3)
    same(client.list_snapshots(name), [])
    started = time.time()
    first = client.create_snapshot(name)
    second = client.create_snapshot(name)  # within the same second: another name
    assert re.fullmatch(rf"{name}-\d+-\d{{4}}-\d\d-\d\d-\d\d-\d\d-\d\d\.snapshot", first.name), first.name
    assert first.name != second.name
    age = time.mktime(time.strptime(first.creation_time, "%Y-%m-%dT%H:%M:%S")) - time.timezone - started
    assert -2 < age < 30, first.creation_time
    same(sorted(one.name for one in client.list_snapshots(name)), sorted([first.name, second.name]))
    same({one.name: one for one in client.list_snapshots(name)}[first.name], first)
    for one in (first, second):
        archive = raw.get(f"/collections/{name}/snapshots/{one.name}")
        same((archive.status_code, len(archive.content), hashlib.sha256(archive.content).hexdigest()), (200, one.size, one.checksum))
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name="snap-alias"))])
    same(len(client.list_snapshots("snap-alias")), 2)
    assert client.delete_snapshot(name, first.name) is True
    same([one.name for one in client.list_snapshots(name)], [second.name])
    refused(404, f"Not found: Snapshot {first.name} not found", client.delete_snapshot, name, first.name)
    refused(404, "Not found: Collection `none` doesn't exist!", client.create_snapshot, "none")
    refused(404, "Not found: Collection `none` doesn't exist!", client.list_snapshots, "none")
    same(client.create_snapshot(name, wait=False), None)
    deadline = time.monotonic() + 30
    while len(client.list_snapshots(name)) != 2:
        assert time.monotonic() < deadline, "the snapshot that was only accepted never came"
    for one in client.list_snapshots(name):
        client.delete_snapshot(name, one.name)
    same(client.list_snapshots(name), [])
    client.delete_collection(name)


def restores() -> None:
    for shards in (1, 3):
        name = filled("source", shards)
        want = state(name)
        snapshot = client.create_snapshot(name)
        client.delete(name, models.Filter())  # what comes later is not in it
        file = f"file://{SNAPSHOTS}/{name}/{snapshot.name}"
        url = f"{SERVER_URL}/collections/{name}/snapshots/{snapshot.name}"
        same(client.count(name).count, 0)

        assert client.recover_snapshot("from-file", file) is True
        same(state("from-file"), want)
        assert client.recover_snapshot("from-url", url, api_key=KEY, checksum=snapshot.checksum, priority=models.SnapshotPriority.SNAPSHOT) is True
        same(state("from-url"), want)
        assert client.recover_snapshot(name, file, checksum=snapshot.checksum.upper()) is True  # over the collection it was made of
        same(state(name), want)
        same([one.name for one in client.list_snapshots(name)], [snapshot.name])

        archive = raw.get(f"/collections/{name}/snapshots/{snapshot.name}").content
        upload = raw.post("/collections/from-upload/snapshots/upload", params={"priority": "no_sync", "checksum": snapshot.checksum}, files={"snapshot": ("../../x", archive)})
        same((upload.status_code, upload.json()["result"]), (200, True))
        same(state("from-upload"), want)
        same(client.list_snapshots("from-upload"), [])  # an upload does not join the snapshots
        client.upsert("from-upload", [models.PointStruct(id=1000, vector={"b": [1, 1]})])
        assert client.recover_snapshot("from-upload", url, api_key=KEY, priority=models.SnapshotPriority.REPLICA, wait=True) is True
        same(state("from-upload"), want)
        client.delete("from-upload", models.Filter())
        same(client.recover_snapshot("from-upload", file, wait=False), None)
        deadline = time.monotonic() + 30
        while client.count("from-upload").count != want[2]:
            assert time.monotonic() < deadline, "the restore that was only accepted never came"
        same(state("from-upload"), want)

        # A restored collection is one like any other: it takes writes and makes snapshots of its own.
        client.upsert("from-file", [models.PointStruct(id=5000, vector={"b": [1, 1]}, payload={"group": "g0"})])
        again = client.create_snapshot("from-file")
        grown = state("from-file")
        assert client.recover_snapshot("from-url", f"file://{SNAPSHOTS}/from-file/{again.name}") is True
        same(state("from-url"), grown)
        client.delete_snapshot("from-file", again.name)

        refused(400, f"Wrong input: Failed to download tar from {url}: status - 401", client.recover_snapshot, "refused", url, api_key="wrong")
        refused(400, f"Wrong input: Snapshot checksum mismatch: expected {'0' * 64}, got {snapshot.checksum}", client.recover_snapshot, "refused", file, checksum="0" * 64)
        assert client.collection_exists("refused") is False
        client.delete_snapshot(name, snapshot.name)
        same(os.listdir(os.path.join(SNAPSHOTS, name)), [])
        for one in (name, "from-file", "from-url", "from-upload"):
            client.delete_collection(one)

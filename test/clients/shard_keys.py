"""Custom sharding with the official client: SHARD_KEYS_URLS are three nodes of one cluster, SHARD_KEYS_FOLDER is for files."""

import os

import httpx
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

URLS = os.environ["SHARD_KEYS_URLS"].split(",")
FOLDER = os.environ["SHARD_KEYS_FOLDER"]
first, second, third = nodes = [QdrantClient(url=url, timeout=120) for url in URLS]
NAME = "tenants"


def ids(points) -> list[int]:
    return [point.id for point in points]


def points(numbers: range) -> list[models.PointStruct]:
    return [models.PointStruct(id=number, vector=[float(number), 1.0], payload={"n": number}) for number in numbers]


def counts(client: QdrantClient, name: str) -> list[int]:
    selectors = ["canada", 2026, ["canada", 2026], None]
    return [client.count(name, exact=True, shard_key_selector=selector).count for selector in selectors]


assert first.create_collection(
    NAME, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT), shard_number=2, sharding_method=models.ShardingMethod.CUSTOM
)
assert second.get_collection(NAME).config.params.sharding_method == models.ShardingMethod.CUSTOM
assert first.create_shard_key(NAME, "canada")
assert second.create_shard_key(NAME, 2026, shards_number=3, replication_factor=2)
assert third.create_shard_key(NAME, "gone", shards_number=1)
assert third.create_payload_index(NAME, "n", models.PayloadSchemaType.INTEGER).status == models.UpdateStatus.COMPLETED

assert first.upsert(NAME, points(range(0, 50)), shard_key_selector="canada", wait=True).status == models.UpdateStatus.COMPLETED
second.upload_points(NAME, points(range(100, 130)), shard_key_selector=2026, wait=True)
third.upsert(NAME, points(range(7, 8)), shard_key_selector=models.ShardKeyWithFallback(target="absent", fallback=2026), wait=True)
try:
    first.upsert(NAME, points(range(0, 1)), wait=True)
    raise AssertionError("a write without a key was taken")
except UnexpectedResponse as error:
    assert error.status_code == 400 and b"Shard key not specified" in error.content, error.content

for client in nodes:
    assert counts(client, NAME) == [50, 31, 81, 81], counts(client, NAME)
    page, _ = client.scroll(NAME, limit=3, shard_key_selector=2026)
    assert [(point.id, point.shard_key) for point in page] == [(7, 2026), (100, 2026), (101, 2026)], page
    found = client.query_points(NAME, query=[1.0, 0.0], limit=2, shard_key_selector="canada").points
    assert [(point.id, point.shard_key) for point in found] == [(49, "canada"), (48, "canada")], found
    assert ids(client.query_points(NAME, query=[1.0, 0.0], limit=2).points) == [129, 128]
    batch = [models.QueryRequest(query=[1.0, 0.0], limit=1, shard_key=key) for key in ("canada", 2026)]
    assert [ids(answer.points) for answer in client.query_batch_points(NAME, batch)] == [[49], [129]]
    assert ids(client.retrieve(NAME, [3, 101, 5000], shard_key_selector=[2026])) == [101]

first.set_payload(NAME, {"seen": True}, [3], shard_key_selector="canada", wait=True)
second.update_vectors(NAME, [models.PointVectors(id=3, vector=[900.0, 1.0])], shard_key_selector="canada", wait=True)
third.delete(NAME, models.Filter(must=[models.FieldCondition(key="n", range=models.Range(gte=120))]), shard_key_selector=2026, wait=True)
first.batch_update_points(
    NAME, [models.DeleteOperation(delete=models.PointIdsList(points=[4], shard_key="canada"))], wait=True
)
assert counts(second, NAME) == [49, 21, 70, 70], counts(second, NAME)
assert ids(second.query_points(NAME, query=[1.0, 0.0], limit=1).points) == [3]
assert second.retrieve(NAME, [3])[0].payload == {"n": 3, "seen": True}

assert second.delete_shard_key(NAME, "gone")
late = models.CreateShardingKeyOperation(create_sharding_key=models.CreateShardingKey(shard_key="late"))
assert first.cluster_collection_update(NAME, late)
assert [description.key for description in third.list_shard_keys(NAME).shard_keys] == ["canada", 2026, "late"]
assert first.cluster_collection_update(NAME, models.DropShardingKeyOperation(drop_sharding_key=models.DropShardingKey(shard_key="late")))

files = []
for number, (client, url) in enumerate(zip(nodes, URLS)):
    made = client.create_snapshot(NAME)
    path = os.path.join(FOLDER, f"{number}.snapshot")
    with httpx.stream("GET", f"{url}/collections/{NAME}/snapshots/{made.name}", timeout=120) as answer, open(path, "wb") as file:
        assert answer.status_code == 200
        for piece in answer.iter_bytes():
            file.write(piece)
    files.append(path)
for url, path in reversed(list(zip(URLS, files))):
    with open(path, "rb") as file:
        upload = httpx.post(f"{url}/collections/restored/snapshots/upload?priority=snapshot", files={"snapshot": file}, timeout=120)
    assert upload.status_code == 200, upload.text
for client in nodes:
    assert counts(client, "restored") == [49, 21, 70, 70], counts(client, "restored")
    assert client.retrieve("restored", [3])[0].payload == {"n": 3, "seen": True}
    assert [description.key for description in client.list_shard_keys("restored").shard_keys] == ["canada", 2026]
    assert client.get_collection("restored").payload_schema["n"].data_type == models.PayloadSchemaType.INTEGER
print("all is as it should be")

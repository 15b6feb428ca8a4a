"""Snapshots, step by step: create, fill, search, snapshot, download, restore under a new name, compare.

The official Python client talks to nearkeep as it does to Qdrant; downloads and uploads are plain HTTP. The list of nodes has
one URL for one server and three for a cluster: the steps stay the same.

    QDRANT_MAIN_URL   the URL of the service                 http://127.0.0.1:6333
    QDRANT_NODES      the URL of each node, comma-separated  http://127.0.0.1:6333
    QDRANT_API_KEY    the API key
    PAPERS            a folder with points.jsonl and vectors-768.f16
    QDRANT_OTHER_MAIN_URL, QDRANT_OTHER_NODES
                      another service of as many nodes, into which the archives are restored once more

Over https with an authority of one's own, REQUESTS_CA_BUNDLE and SSL_CERT_FILE name its certificate.

`npm run tutorial` starts a server with a key and runs this file against it; with `-- --nodes 3` two clusters over https.
Comments that start with `$` are the same step on the command line; they work in a shell with NODE, KEY and NAME set.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import requests
from qdrant_client import QdrantClient, models

main_url = os.environ.get("QDRANT_MAIN_URL", "http://127.0.0.1:6333")
nodes = os.environ.get("QDRANT_NODES", main_url).split(",")
api_key = os.environ.get("QDRANT_API_KEY", "")
papers = Path(os.environ.get("PAPERS", Path(__file__).parent / "papers"))
limit = int(os.environ.get("LIMIT", "1000000"))
headers = {"api-key": api_key}
other_url = os.environ.get("QDRANT_OTHER_MAIN_URL")
other_nodes = os.environ.get("QDRANT_OTHER_NODES", "").split(",")

COLLECTION = "test_collection"
IMPORT = "test_collection_import"
DIM = 768
BATCH = 100


def read_papers():
    """Yields points one by one: the data set never lies in memory as a whole."""
    with open(papers / "points.jsonl", encoding="utf-8") as lines, open(papers / "vectors-768.f16", "rb") as vectors:
        for count, line in enumerate(lines):
            if count == limit:
                return
            point = json.loads(line)
            vector = np.frombuffer(vectors.read(DIM * 2), dtype="<f2").astype(np.float32)
            payload = {"title": point["payload"]["title"], "DOI": point["payload"]["DOI"]}
            yield models.PointStruct(id=point["id"], vector=vector.tolist(), payload=payload)


def scroll_all(client, collection):
    """All points of a collection: id -> (vector, payload)."""
    points, offset = {}, None
    while True:
        page, offset = client.scroll(collection, limit=256, offset=offset, with_payload=True, with_vectors=True)
        for record in page:
            points[record.id] = (record.vector, record.payload)
        if offset is None:
            return points


def upload(node, file):
    """Restores an archive under a new name."""
    with open(file, "rb") as body:
        response = requests.post(
            f"{node}/collections/{IMPORT}/snapshots/upload",
            params={"priority": "snapshot"},
            headers=headers,
            files={"snapshot": (file.name, body)},
            timeout=600,
        )
    response.raise_for_status()
    assert response.json()["result"] is True, response.text


client = QdrantClient(url=main_url, api_key=api_key)

# 1. Create the collection.
# $ curl -sf -X PUT "$NODE/collections/curl_collection" -H "api-key: $KEY" -H 'content-type: application/json' -d '{"vectors":{"size":768,"distance":"Cosine"}}'
if client.collection_exists(COLLECTION):
    client.delete_collection(COLLECTION)
if client.collection_exists(IMPORT):
    client.delete_collection(IMPORT)
client.create_collection(COLLECTION, vectors_config=models.VectorParams(size=DIM, distance=models.Distance.COSINE))
client.create_payload_index(COLLECTION, "DOI", models.PayloadSchemaType.KEYWORD)

# 2. Fill it in a streaming loop.
batch, sent = [], 0
for point in read_papers():
    batch.append(point)
    if len(batch) == BATCH:
        client.upsert(COLLECTION, points=batch, wait=True)
        sent += len(batch)
        batch = []
if batch:
    client.upsert(COLLECTION, points=batch, wait=True)
    sent += len(batch)
count = client.count(COLLECTION, exact=True).count
assert count == sent, f"{sent} points sent, {count} there"
print(f"filled     {COLLECTION} with {count} papers")

# 3. Search: the paper nearest to a paper's own vector is that paper.
# $ curl -sf -X POST "$NODE/collections/test_collection/points/query" -H "api-key: $KEY" -H 'content-type: application/json' -d '{"query":1,"limit":3,"with_payload":true}'
probe = client.retrieve(COLLECTION, [1], with_vectors=True)[0]
before = client.query_points(COLLECTION, query=probe.vector, limit=10, with_payload=True).points
assert before[0].id == 1, f"nearest is {before[0].id}"
print(f"searched   nearest to \"{probe.payload['title']}\": \"{before[1].payload['title']}\" ({before[1].score:.3f})")

# 4. Make a snapshot on every node.
# $ curl -sf -X POST "$NODE/collections/test_collection/snapshots" -H "api-key: $KEY"
snapshots = []
for node in nodes:
    description = QdrantClient(url=node, api_key=api_key).create_snapshot(COLLECTION)
    snapshots.append((node, description))
    print(f"snapshot   {description.name} ({description.size} bytes)")

with tempfile.TemporaryDirectory() as folder:
    # 5. Download each with the key, and compare its sha256.
    # $ wget -q --header="api-key: $KEY" -O "$NAME" "$NODE/collections/test_collection/snapshots/$NAME"
    # $ curl -sf -H "api-key: $KEY" -o "$NAME" "$NODE/collections/test_collection/snapshots/$NAME"
    files = []
    for index, (node, description) in enumerate(snapshots):
        file = Path(folder) / f"{index}-{description.name}"
        digest = hashlib.sha256()
        with requests.get(f"{node}/collections/{COLLECTION}/snapshots/{description.name}", headers=headers, stream=True, timeout=60) as response:
            response.raise_for_status()
            with open(file, "wb") as out:
                for piece in response.iter_content(1 << 20):
                    digest.update(piece)
                    out.write(piece)
        assert file.stat().st_size == description.size, "the size is the announced one"
        assert digest.hexdigest() == description.checksum, "the sha256 is the announced one"
        files.append((node, file))
    print(f"downloaded {len(files)} archive(s), sha256 as announced")

    # 6. Upload each to its node under a new name: the collection is created by the upload.
    # $ curl -sf -X POST "$NODE/collections/curl_import/snapshots/upload?priority=snapshot" -H "api-key: $KEY" -F "snapshot=@$NAME"
    for node, file in files:
        upload(node, file)
    print(f"restored   {IMPORT}")

    # 7. The same archives restore elsewhere: each node of another service gets one.
    if other_url is not None:
        for node, (_, file) in zip(other_nodes, files, strict=True):
            upload(node, file)
        print(f"restored   {IMPORT} into another service")

# 8. Everything is there: ids, vectors, payloads, payload indexes and search results, whichever node is asked.
original = scroll_all(client, COLLECTION)
schema = client.get_collection(COLLECTION).payload_schema
assert "DOI" in schema, "the payload index"
with_doi = next((payload["DOI"] for _, payload in original.values() if payload["DOI"]), None)
places = [main_url, *nodes] + ([] if other_url is None else [other_url, *other_nodes])
for url in places:
    restored_client = QdrantClient(url=url, api_key=api_key)
    restored = scroll_all(restored_client, IMPORT)
    assert original.keys() == restored.keys(), "the same ids"
    assert all(original[i] == restored[i] for i in original), "the same vectors and payloads"
    assert restored_client.get_collection(IMPORT).payload_schema == schema, "the same payload indexes"
    after = restored_client.query_points(IMPORT, query=probe.vector, limit=10, with_payload=True).points
    assert [(hit.id, hit.score) for hit in before] == [(hit.id, hit.score) for hit in after], "the same search results"
    if with_doi is not None:
        by_doi = models.Filter(must=[models.FieldCondition(key="DOI", match=models.MatchValue(value=with_doi))])
        assert restored_client.count(IMPORT, count_filter=by_doi, exact=True).count == client.count(COLLECTION, count_filter=by_doi, exact=True).count >= 1
print(f"proved     {len(original)} points equal at {len(places)} addresses: ids, vectors, payloads, payload indexes, search results")

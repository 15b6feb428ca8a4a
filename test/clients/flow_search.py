"""Searches: scores and order against numpy, and every parameter of a query."""

import numpy as np
from flow_support import client, fresh, raw_text, ranking, refused, same, same_hits
from qdrant_client import models

DIM = 24
random = np.random.default_rng(20260115)


def scores() -> None:
    """Every distance and datatype, in one shard and in three; deleted and rewritten points leave no trace."""
    for datatype in [models.Datatype.FLOAT32, models.Datatype.FLOAT16, models.Datatype.UINT8]:
        for number, distance in enumerate(models.Distance):
            name = fresh("scores", models.VectorParams(size=DIM, distance=distance, datatype=datatype), shard_number=1 + 2 * (number % 2))
            bytes_only = datatype == models.Datatype.UINT8

            def vector() -> np.ndarray:
                return (random.integers(0, 256, DIM) if bytes_only else random.normal(size=DIM)).astype(np.float32)

            rows = {i: vector() for i in range(120)}
            client.upload_points(name, [models.PointStruct(id=key, vector=row) for key, row in rows.items()], batch_size=50, wait=True)
            client.delete(name, [0, 1])
            rows[5] = vector()
            client.upsert(name, [models.PointStruct(id=5, vector=rows[5])])
            del rows[0], rows[1]
            query = vector()
            want = ranking(rows, query, distance, datatype)
            tolerance = 1e-5 if datatype == models.Datatype.FLOAT32 else 2e-5
            found = client.query_points(name, query=query, limit=200).points
            same_hits(found[:20], want[:20], tolerance)
            same(sorted(hit.id for hit in found), sorted(rows))
            same_hits(client.query_points(name, query=query.tolist(), limit=5, offset=3).points, want[3:8], tolerance)
            by_id = client.query_points(name, query=7, limit=4).points
            same_hits(by_id, [one for one in ranking(rows, rows[7], distance, datatype) if one[0] != 7][:4], tolerance * 5)
            client.delete_collection(name)


def parameters() -> None:
    for shards in (1, 3):
        vectors = {"dot": models.VectorParams(size=2, distance=models.Distance.DOT), "far": models.VectorParams(size=2, distance=models.Distance.EUCLID)}
        name = fresh("parameters", vectors, shard_number=shards)
        client.upsert(name, [models.PointStruct(id=i, vector={"dot": [i, 1], "far": [i, 0]}, payload={"i": i, "p": {"q": i, "r": "x"}, "list": [{"a": i, "b": 1}]}) for i in range(10)])

        def ids(**more) -> list:
            return [hit.id for hit in client.query_points(name, **{"query": [1, 0], "using": "dot", **more}).points]

        same(ids(), list(range(9, -1, -1)))
        same(ids(limit=3, offset=2), [7, 6, 5])
        same(ids(offset=20), [])
        same(ids(score_threshold=7), [9, 8])  # a score equal to the threshold is not better
        same(sorted(ids(query=[4, 0], using="far", score_threshold=2)), [3, 4, 5])
        same(ids(query=[4, 0], using="far", limit=1), [4])
        same(ids(query=3, limit=2), [9, 8])
        same(ids(query=9, limit=2), [8, 7])
        same(ids(query=models.NearestQuery(nearest=[-1, 0]), limit=2), [0, 1])
        same(ids(query_filter=models.Filter(must=[models.FieldCondition(key="i", range=models.Range(lt=5))]), limit=2), [4, 3])
        same(ids(search_params=models.SearchParams(exact=True, hnsw_ef=64, indexed_only=False, quantization=models.QuantizationSearchParams(ignore=True, rescore=True, oversampling=2.0)), limit=1), [9])
        same(ids(timeout=20, consistency=models.ReadConsistencyType.ALL, limit=1), [9])
        assert sorted(ids(query=None, limit=4)) == [0, 1, 2, 3]
        same([hit.score for hit in client.query_points(name, limit=2).points], [0, 0])

        def first(**more) -> models.ScoredPoint:
            return client.query_points(name, query=[1, 0], using="dot", limit=1, **more).points[0]

        # The client's own default is with_payload=True.
        same((first().payload, first().vector), ({"i": 9, "p": {"q": 9, "r": "x"}, "list": [{"a": 9, "b": 1}]}, None))
        same(first(with_payload=False).payload, None)
        same(first(with_payload=["p.q", "list[].a", "none"]).payload, {"p": {"q": 9}, "list": [{"a": 9}]})
        same(first(with_payload=models.PayloadSelectorInclude(include=["i"])).payload, {"i": 9})
        same(first(with_payload=models.PayloadSelectorExclude(exclude=["p", "list[].b"])).payload, {"i": 9, "list": [{"a": 9}]})
        same(first(with_vectors=True).vector, {"dot": [9, 1], "far": [9, 0]})
        same(first(with_vectors=["far"]).vector, {"far": [9, 0]})
        same(first(with_vectors=True).score, 9.0)
        assert first().version >= 0
        refused(400, "Wrong input: Vector dimension error: expected dim: 2, got 3 for vector 'dot'", client.query_points, name, query=[1, 2, 3], using="dot")
        refused(400, "Wrong input: Not existing vector name error: none", client.query_points, name, query=[1, 2], using="none")
        refused(404, "Not found: No point with id 77 found", client.query_points, name, query=77, using="dot")
        client.delete_collection(name)


def batches() -> None:
    """Several searches in one call answer as each alone."""
    name = fresh("search-batches", models.VectorParams(size=8, distance=models.Distance.COSINE), shard_number=3)
    rows = {i: random.normal(size=8).astype(np.float32) for i in range(50)}
    client.upload_points(name, [models.PointStruct(id=key, vector=row, payload={"odd": key % 2 == 1}) for key, row in rows.items()], wait=True)
    queries = [random.normal(size=8).astype(np.float32) for _ in range(6)]
    odd = models.Filter(must=[models.FieldCondition(key="odd", match=models.MatchValue(value=True))])
    requests = [models.QueryRequest(query=query.tolist(), limit=3 + number, filter=odd if number % 2 else None, with_payload=number == 0) for number, query in enumerate(queries)]
    answers = client.query_batch_points(name, requests)
    for number, (query, answer) in enumerate(zip(queries, answers, strict=True)):
        wanted = ranking({key: row for key, row in rows.items() if key % 2 or number % 2 == 0}, query, models.Distance.COSINE)
        same_hits(answer.points, wanted[: 3 + number])
        same({hit.payload is None for hit in answer.points}, {number != 0})
    same(client.query_batch_points(name, []), [])
    # The older routes, which this client no longer calls.
    body = {"vector": queries[0].tolist(), "limit": 3}
    old = raw_text("POST", f"/collections/{name}/points/search", body)
    new = client.query_points(name, query=queries[0], limit=3, with_payload=False).points
    for hit in new:
        assert f'"id":{hit.id},' in old, old
    assert raw_text("POST", f"/collections/{name}/points/search/batch", {"searches": [body, body]}).count('"id":') == 6
    client.delete_collection(name)

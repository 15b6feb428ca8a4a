"""Points: writes of every form, reads by id, page and order, payload and vector edits, and exactness of ids and payloads."""

import json
import re
import time
import uuid

import numpy as np
from flow_support import client, fresh, raw, raw_text, refused, same, scroll_all
from qdrant_client import models
from qdrant_client.http.exceptions import UnexpectedResponse

UUID_A = "aaaaaaaa-0000-4000-8000-000000000001"
UUID_B = "bbbbbbbb-0000-4000-8000-000000000002"
ID_MAX = 2**64 - 1
NAMED = {"a": models.VectorParams(size=2, distance=models.Distance.DOT), "b": models.VectorParams(size=3, distance=models.Distance.EUCLID)}


def by_id(name: str, ids: list) -> dict:
    return {point.id: point for point in client.retrieve(name, ids, with_vectors=True)}


def payloads(name: str) -> dict:
    return {point.id: point.payload for point in scroll_all(name)}


def wait_for(count: int, name: str) -> None:
    """For writes that were only acknowledged."""
    deadline = time.monotonic() + 30
    while client.count(name).count != count:
        assert time.monotonic() < deadline, f"{client.count(name).count} points instead of {count}"


def upserts() -> None:
    for shards in (1, 3):
        name = fresh("upserts", shard_number=shards)
        ids = [0, 2**53 + 1, ID_MAX, UUID_A]
        done = client.upsert(name, [models.PointStruct(id=key, vector=[number, 1, 2, 3], payload={"n": number}) for number, key in enumerate(ids)], wait=True)
        same(done.status, models.UpdateStatus.COMPLETED)
        assert done.operation_id is not None
        points = by_id(name, ids)
        same({key: (point.vector, point.payload) for key, point in points.items()}, {key: ([number, 1, 2, 3], {"n": number}) for number, key in enumerate(ids)})
        batch = models.Batch(ids=[7, UUID_B, 8], vectors=[[1, 0, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0]], payloads=[{"x": 1}, {}, {"x": 3}])
        same(client.upsert(name, batch, wait=False).status, models.UpdateStatus.ACKNOWLEDGED)
        wait_for(7, name)
        same({key: (point.vector[0], point.payload) for key, point in by_id(name, [8, UUID_B, 7]).items()}, {7: (1, {"x": 1}), UUID_B: (2, {}), 8: (3, {"x": 3})})
        # The whole point is replaced; of two with one id the last counts.
        client.upsert(name, [models.PointStruct(id=7, vector=[9, 0, 0, 0], payload={"gone": 1}), models.PointStruct(id=7, vector=[4, 5, 6, 7], payload={"y": 2})])
        same((by_id(name, [7])[7].vector, by_id(name, [7])[7].payload), ([4, 5, 6, 7], {"y": 2}))
        same(client.count(name).count, 7)
        # Every way to write a UUID names one point.
        same([point.id for point in client.retrieve(name, [uuid.UUID(UUID_A).hex, f"urn:uuid:{UUID_A}", UUID_A.upper()])], [UUID_A] * 3)
        same(client.retrieve(name, [1234]), [])
        [some] = client.retrieve(name, [8], with_payload=False, with_vectors=False)
        same((some.payload, some.vector), (None, None))
        client.set_payload(name, {"more": 1}, points=[8])
        same(client.retrieve(name, [8], with_payload=["more"])[0].payload, {"more": 1})
        for key, text in [(ID_MAX, str(ID_MAX)), (2**53 + 1, str(2**53 + 1)), (UUID_A, f'"{UUID_A}"')]:
            assert f'"id":{text}' in raw_text("GET", f"/collections/{name}/points/{key}"), text
        refused(400, "Wrong input: Vector dimension error: expected dim: 4, got 3", client.upsert, name, [models.PointStruct(id=1, vector=[1, 2, 3])], wait=False)
        same(client.count(name).count, 7)
        client.delete_collection(name)


def uploads() -> None:
    """The client's own ways to send many points."""
    name = fresh("uploads", shard_number=3)
    client.upload_points(name, (models.PointStruct(id=i, vector=[i, 0, 0, 0], payload={"i": i}) for i in range(50)), batch_size=20, wait=True)
    client.upload_collection(name, vectors=[[i, 1, 0, 0] for i in range(50, 80)], payload=[{"i": i} for i in range(50, 80)], ids=list(range(50, 80)), batch_size=7, wait=True)
    points = scroll_all(name, with_vectors=True)
    same([(point.id, point.vector, point.payload) for point in points], [(i, [i, i // 50, 0, 0], {"i": i}) for i in range(80)])

    client.delete_collection(name)


def conditional() -> None:
    """update_mode and update_filter."""
    name = fresh("conditional")
    old = models.Filter(must=[models.FieldCondition(key="age", range=models.Range(lt=5))])

    def upsert(ages: dict, **more) -> None:
        client.upsert(name, [models.PointStruct(id=key, vector=[age, 0, 0, 0], payload={"age": age}) for key, age in ages.items()], wait=True, **more)

    def ages() -> dict:
        return {key: payload["age"] for key, payload in payloads(name).items()}

    upsert({1: 1, 2: 9})
    upsert({1: 3, 2: 3, 3: 3}, update_filter=old)
    same(ages(), {1: 3, 2: 9, 3: 3})
    upsert({1: 4, 4: 4}, update_mode=models.UpdateMode.INSERT_ONLY)
    same(ages(), {1: 3, 2: 9, 3: 3, 4: 4})
    upsert({1: 2, 5: 2}, update_mode=models.UpdateMode.UPDATE_ONLY)
    same(ages(), {1: 2, 2: 9, 3: 3, 4: 4})
    upsert({1: 8, 2: 8, 6: 8}, update_mode=models.UpdateMode.UPDATE_ONLY, update_filter=old)
    same(ages(), {1: 8, 2: 9, 3: 3, 4: 4})
    client.update_vectors(name, [models.PointVectors(id=key, vector=[0, 0, 0, 7]) for key in (1, 3)], update_filter=old)
    same({key: point.vector for key, point in by_id(name, [1, 3]).items()}, {1: [8, 0, 0, 0], 3: [0, 0, 0, 7]})
    client.delete_collection(name)


def pages() -> None:
    """Scroll by id: numbers in order, then UUIDs, whatever the shards; offset is inclusive."""
    for shards in (1, 3):
        name = fresh("pages", shard_number=shards)
        ids = [*range(0, 40, 2), 2**53, 2**53 + 1, ID_MAX, *sorted(str(uuid.uuid5(uuid.NAMESPACE_OID, str(i))) for i in range(12))]
        client.upsert(name, [models.PointStruct(id=key, vector=[1, 0, 0, 0], payload={"at": at}) for at, key in reversed(list(enumerate(ids)))])
        for page in (1, 5, 7, len(ids), 100):
            same([point.id for point in scroll_all(name, page=page)], ids)
        first, offset = client.scroll(name)
        same(([point.id for point in first], offset), (ids[:10], ids[10]))
        same((first[0].payload, first[0].vector), ({"at": 0}, None))
        from_middle, offset = client.scroll(name, offset=3, limit=3)
        same(([point.id for point in from_middle], offset), ([4, 6, 8], 10))
        text = raw_text("POST", f"/collections/{name}/points/scroll", {"offset": 2**53 + 1, "limit": 1, "with_payload": False})
        assert f'"next_page_offset":{ID_MAX}' in text and f'"id":{2**53 + 1}' in text, text
        some, _ = client.scroll(name, limit=2, offset=ID_MAX, with_payload=False, with_vectors=True)
        same([(point.id, point.payload, point.vector) for point in some], [(key, None, [1, 0, 0, 0]) for key in ids[22:24]])
        same([point.payload["at"] for point in scroll_all(name, scroll_filter=models.Filter(must=[models.FieldCondition(key="at", range=models.Range(gte=20))]))], list(range(20, len(ids))))
        client.delete_collection(name)


def order_by() -> None:
    for shards in (1, 3):
        name = fresh("ordered", shard_number=shards)
        values = {1: 5, 2: 3, 3: [4, 1], 4: None, 5: 3, 7: 2**60, 8: 2**60 + 1}
        client.upsert(name, [models.PointStruct(id=key, vector=[1, 0, 0, 0], payload={"n": value, "f": key / 2, "d": f"2026-01-0{key}T00:00:00Z"}) for key, value in values.items()])
        refused(400, "Wrong input: No range index for `order_by` key: `n`. Please create one to use `order_by`. Integer, float and datetime payloads can have one",
                client.scroll, name, order_by="n")
        for field, kind in [("n", models.PayloadSchemaType.INTEGER), ("f", models.PayloadSchemaType.FLOAT), ("d", models.PayloadSchemaType.DATETIME)]:
            client.create_payload_index(name, field, kind)

        def scrolled(**more) -> list:
            points, offset = client.scroll(name, limit=more.pop("limit", 100), **more)
            same(offset, None)
            return [(point.id, point.order_value) for point in points]

        ascending = [(3, 1), (2, 3), (5, 3), (3, 4), (1, 5), (7, 2**60), (8, 2**60 + 1)]
        same(scrolled(order_by="n"), ascending)
        same(scrolled(order_by="n", limit=3), ascending[:3])
        same(scrolled(order_by=models.OrderBy(key="n", direction=models.Direction.ASC, start_from=3)), ascending[1:])
        descending = scrolled(order_by=models.OrderBy(key="n", direction=models.Direction.DESC))
        same([value for _, value in descending], [value for _, value in reversed(ascending)])
        same(sorted(descending), sorted(ascending))
        same(scrolled(order_by=models.OrderBy(key="n", start_from=2**60 + 1)), [(8, 2**60 + 1)])
        same(scrolled(order_by=models.OrderBy(key="f", direction=models.Direction.DESC, start_from=2.5)), [(5, 2.5), (4, 2.0), (3, 1.5), (2, 1.0), (1, 0.5)])
        by_date = scrolled(order_by=models.OrderBy(key="d", start_from="2026-01-05T00:00:00Z"))
        same([key for key, _ in by_date], [5, 7, 8])
        some = models.Filter(must=[models.HasIdCondition(has_id=[1, 2, 8])])
        same(scrolled(order_by="n", scroll_filter=some), [(2, 3), (1, 5), (8, 2**60 + 1)])
        client.delete_collection(name)


def deletes() -> None:
    for shards in (1, 3):
        name = fresh("deletes", shard_number=shards)
        client.upsert(name, [models.PointStruct(id=i, vector=[i, 0, 0, 0], payload={"even": i % 2 == 0, "i": i}) for i in range(30)])
        even = models.Filter(must=[models.FieldCondition(key="even", match=models.MatchValue(value=True))])
        same(client.count(name, count_filter=even).count, 15)
        same(client.delete(name, [0, 1, 999], wait=True).status, models.UpdateStatus.COMPLETED)
        same(client.count(name, count_filter=even, exact=True).count, 14)
        client.delete(name, models.PointIdsList(points=[2]))
        client.delete(name, models.Filter(must=[models.FieldCondition(key="i", range=models.Range(gte=20))]))
        same([point.id for point in scroll_all(name)], list(range(3, 20)))
        same(client.delete(name, models.FilterSelector(filter=even), wait=False).status, models.UpdateStatus.ACKNOWLEDGED)
        wait_for(9, name)
        same([point.id for point in scroll_all(name)], list(range(3, 20, 2)))
        same([hit.id for hit in client.query_points(name, query=[1, 0, 0, 0], limit=3).points], [19, 17, 15])
        estimate = client.count(name, exact=False).count
        assert estimate >= 0
        client.delete_collection(name)


def payload_edits() -> None:
    for shards in (1, 3):
        name = fresh("payload-edits", shard_number=shards)
        start = {"a": 1, "b": {"c": 2, "d": [1, 2]}, "keep": "x"}
        client.upsert(name, [models.PointStruct(id=i, vector=[1, 0, 0, 0], payload=start) for i in range(5)])
        only = models.Filter(must=[models.HasIdCondition(has_id=[1, 2])])
        client.set_payload(name, {"a": 5, "new": None, "more": [True]}, points=[0])
        same(payloads(name)[0], {"a": 5, "b": start["b"], "keep": "x", "more": [True]})
        client.set_payload(name, {"c": 9, "e": 1}, points=only, key="b")
        same([payloads(name)[i]["b"] for i in (1, 2, 3)], [{"c": 9, "d": [1, 2], "e": 1}] * 2 + [start["b"]])
        client.set_payload(name, {"a": None}, points=models.PointIdsList(points=[1]))
        same(sorted(payloads(name)[1]), ["b", "keep"])
        client.overwrite_payload(name, {"only": 1}, points=models.FilterSelector(filter=only))
        same([payloads(name)[i] for i in (1, 2, 3)], [{"only": 1}, {"only": 1}, start])
        client.delete_payload(name, ["a", "b.c", "none"], points=[3])
        client.delete_payload(name, ["a", "b.c"], points=models.Filter(must=[models.HasIdCondition(has_id=[4, 99])]))
        same([payloads(name)[i] for i in (3, 4)], [{"b": {"d": [1, 2]}, "keep": "x"}] * 2)
        same(client.clear_payload(name, points_selector=models.PointIdsList(points=[3])).status, models.UpdateStatus.COMPLETED)
        client.clear_payload(name, points_selector=only, wait=True)
        same([payloads(name)[i] for i in (1, 2, 3)], [{}, {}, {}])
        refused(404, "Not found: No point with id 99 found", client.set_payload, name, {"a": 1}, points=[0, 99])
        same(payloads(name)[0]["a"], 5)
        same({len(point.vector) for point in scroll_all(name, with_vectors=True)}, {4})
        client.delete_collection(name)


def vector_edits() -> None:
    for shards in (1, 3):
        name = fresh("vector-edits", NAMED, shard_number=shards)
        client.upsert(name, [models.PointStruct(id=i, vector={"a": [i, 0], "b": [i, 0, 0]}, payload={"i": i}) for i in range(4)])
        client.update_vectors(name, [models.PointVectors(id=0, vector={"b": [7, 7, 7]}), models.PointVectors(id=1, vector={"a": [5, 5]})])
        same({key: point.vector for key, point in by_id(name, [0, 1]).items()}, {0: {"a": [0, 0], "b": [7, 7, 7]}, 1: {"a": [5, 5], "b": [1, 0, 0]}})
        same(client.delete_vectors(name, ["b"], points=[0]).status, models.UpdateStatus.COMPLETED)
        client.delete_vectors(name, ["a"], points=models.Filter(must=[models.FieldCondition(key="i", range=models.Range(gte=2))]))
        same({key: sorted(point.vector) for key, point in by_id(name, [0, 1, 2, 3]).items()}, {0: ["a"], 1: ["a", "b"], 2: ["b"], 3: ["b"]})
        same(sorted(hit.id for hit in client.query_points(name, query=[1, 0], using="a").points), [0, 1])
        client.upsert(name, [models.PointStruct(id=1, vector={"a": [1, 1]})])  # vectors that are not sent are gone
        same((by_id(name, [1])[1].vector, by_id(name, [1])[1].payload), ({"a": [1, 1]}, {}))
        refused(404, "Not found: No point with id 9 found", client.update_vectors, name, [models.PointVectors(id=9, vector={"a": [1, 1]})])
        refused(400, "Wrong input: Not existing vector name error: c", client.update_vectors, name, [models.PointVectors(id=1, vector={"c": [1, 1]})])
        refused(400, "Wrong input: Vector dimension error: expected dim: 2, got 3 for vector 'a'", client.update_vectors, name, [models.PointVectors(id=1, vector={"a": [1, 1, 1]})])
        same([sorted(point.vector) for point in client.retrieve(name, [3], with_vectors=["b"])], [["b"]])
        client.delete_collection(name)


def batches() -> None:
    """One call, every kind of operation, in order."""
    name = fresh("batches", NAMED, shard_number=3)
    done = client.batch_update_points(name, wait=True, update_operations=[
        models.UpsertOperation(upsert=models.PointsList(points=[models.PointStruct(id=i, vector={"a": [i, 0], "b": [i, 0, 0]}, payload={"i": i, "x": {"y": 1, "z": 2}}) for i in range(6)])),
        models.UpsertOperation(upsert=models.PointsBatch(batch=models.Batch(ids=[6, 7], vectors={"a": [[6, 0], [7, 0]]}, payloads=[{"i": 6}, {"i": 7}]))),
        models.SetPayloadOperation(set_payload=models.SetPayload(payload={"set": True}, points=[0, 1])),
        models.SetPayloadOperation(set_payload=models.SetPayload(payload={"y": 5}, points=[5], key="x")),
        models.OverwritePayloadOperation(overwrite_payload=models.SetPayload(payload={"over": 1}, filter=models.Filter(must=[models.HasIdCondition(has_id=[2])]))),
        models.DeletePayloadOperation(delete_payload=models.DeletePayload(keys=["x.z"], points=[0, 5])),
        models.ClearPayloadOperation(clear_payload=models.PointIdsList(points=[3])),
        models.UpdateVectorsOperation(update_vectors=models.UpdateVectors(points=[models.PointVectors(id=4, vector={"a": [9, 9]})])),
        models.DeleteVectorsOperation(delete_vectors=models.DeleteVectors(points=[4], vector=["b"])),
        models.DeleteOperation(delete=models.PointIdsList(points=[7])),
    ])
    same([one.status for one in done], [models.UpdateStatus.COMPLETED] * 10)
    assert all(one.operation_id is not None for one in done)
    same(payloads(name), {0: {"i": 0, "x": {"y": 1}, "set": True}, 1: {"i": 1, "x": {"y": 1, "z": 2}, "set": True}, 2: {"over": 1}, 3: {}, 4: {"i": 4, "x": {"y": 1, "z": 2}},
                          5: {"i": 5, "x": {"y": 5}}, 6: {"i": 6}})
    same({key: point.vector for key, point in by_id(name, [4, 6]).items()}, {4: {"a": [9, 9]}, 6: {"a": [6, 0]}})
    client.delete_collection(name)


def exactness() -> None:
    """What was sent comes back digit for digit, through the client and as raw text."""
    name = fresh("exact", shard_number=3)
    payload = {"float": 1.0, "big": 2**60, "negative": -(2**63), "max": ID_MAX, "small": 5e-324, "zero": -0.0, "third": 1 / 3, "lists": [[1, 2.0, [3, [4.5]]], [], [[]]],
               "null": None, "nulls": [None, {"a": None}], "text": "Ωmega – 日本語 😀 \u0000 \" \\ /", "": "empty key", "a.b[0]": 1, "__proto__": {"x": 1}, "true": True, "empty": {}}
    client.upsert(name, [models.PointStruct(id=ID_MAX, vector=[0.1, 2**-149, 3.4028234663852886e38, -0.0], payload=payload)])
    [point] = client.retrieve(name, [ID_MAX], with_vectors=True)
    same(repr(point.payload), repr(payload))  # 1.0 is not 1, -0.0 is not 0
    same(repr(np.array(point.vector, np.float32)), repr(np.array([0.1, 2**-149, 3.4028234663852886e38, -0.0], np.float32)))
    sent = '{"one": 1.0,"e":1E2 , "big":1152921504606846976,"huge":123456789012345678901234567890,"digits":0.10000000000000000001,"deep":[[1,2.50,[3.0]],{"k":null}],"esc":"\\u00e9\\/\\n","raw":"é😀","nul":null,"ab":{"b":1,"a":2}}'
    body = f'{{"points":[{{"id":{2**63},"vector":[1,2,3,4],"payload":{sent}}}]}}'
    raw_text("PUT", f"/collections/{name}/points?wait=true", body)
    for answer in [raw_text("GET", f"/collections/{name}/points/{2**63}"), raw_text("POST", f"/collections/{name}/points", {"ids": [2**63]}),
                   raw_text("POST", f"/collections/{name}/points/query", {"query": [1, 2, 3, 4], "filter": {"must": [{"has_id": [2**63]}]}, "with_payload": True})]:
        assert f'"payload":{sent}' in answer and f'"id":{2**63}' in answer, answer
    # An edit leaves what it does not touch as it is.
    raw_text("POST", f"/collections/{name}/points/payload?wait=true", f'{{"payload":{{"more":1.50}},"points":[{2**63}]}}')
    answer = raw_text("GET", f"/collections/{name}/points/{2**63}")
    for part in ['1E2', '1.0', '1152921504606846976', '123456789012345678901234567890', '0.10000000000000000001', '[[1,2.50,[3.0]],{"k":null}]', '"\\u00e9\\/\\n"', '1.50']:
        assert part in answer, f"{part} is not in {answer}"
    same(json.loads(answer)["result"]["payload"]["huge"], 123456789012345678901234567890)
    for condition in [{"key": "big", "match": {"value": 2**60}}, {"key": "big", "range": {"gte": 2**60, "lte": 2**60}}]:
        found = json.loads(raw_text("POST", f"/collections/{name}/points/count", {"filter": {"must": [condition]}}))
        same(found["result"]["count"], 2)
    missed = json.loads(raw_text("POST", f"/collections/{name}/points/count", {"filter": {"must": [{"key": "big", "match": {"value": 2**60 + 1}}]}}))
    same(missed["result"]["count"], 0)
    raw_text("PUT", f"/collections/{name}/points?wait=true", {"batch": {"ids": [1, 2], "vectors": [[1, 0, 0, 0], [2, 0, 0, 0]], "payloads": [None, {"x": 1}]}})
    same({key: point.payload for key, point in by_id(name, [1, 2]).items()}, {1: {}, 2: {"x": 1}})
    missing = raw.get(f"/collections/{name}/points/5")
    same((missing.status_code, missing.json()["status"]["error"]), (404, "Not found: Point with id 5 does not exists!"))
    client.delete_collection(name)


def too_large() -> None:
    """A body over the limit is told so: the client sends all of it before it reads an answer."""
    name = fresh("too-large")
    for size in (33, 60):
        try:
            client.upsert(name, [models.PointStruct(id=1, vector=[1, 2, 3, 4], payload={"text": "x" * (size * 2**20)})])
        except UnexpectedResponse as error:
            message = json.loads(error.content)["status"]["error"]
            assert error.status_code == 400 and re.fullmatch(r"JSON payload \(\d+ bytes\) is larger than allowed \(limit: 33554432 bytes\)\.", message), message
        else:
            raise AssertionError(f"{size} MiB were taken")
    client.upsert(name, [models.PointStruct(id=1, vector=[1, 2, 3, 4], payload={"text": "x" * (31 * 2**20)})])
    same(len(client.retrieve(name, [1])[0].payload["text"]), 31 * 2**20)
    client.delete_collection(name)

"""Filters of every kind. Each row is a filter and what it means in Python; scroll, count and search must agree with it, without and with
payload indexes, in one shard and in three."""

from datetime import datetime, timezone
from typing import Any, Callable

from flow_support import client, fresh, same, scroll_all
from qdrant_client import models

UUIDS = [f"10000000-0000-4000-8000-{i:012}" for i in range(4)]
COLOURS = ["red", "green", "blue", None]


def payload_of(i: int) -> dict[str, Any]:
    """Present, missing, null, empty, scalar and list values in every mixture."""
    payload: dict[str, Any] = {
        "n": i - 10, "f": i / 4, "even": i % 2 == 0, "day": f"2026-{i % 12 + 1:02}-15T10:30:00Z", "ref": UUIDS[i % 4],
        "tags": [f"t{j}" for j in range(i % 4)], "mixed": ["a", i, True][i % 3], "text": f"The quick fox {i}", "nest": {"deep": {"v": i % 5}},
        "items": [{"kind": "apple" if (i + j) % 2 else "pear", "price": 10 * j + i % 7, "sold": None} for j in range(i % 3)],
        "place": {"lon": float(i % 10), "lat": float(i // 10)}, "odd key.[x]": i % 2,
    }
    if i % 5:
        payload["colour"] = COLOURS[i % 4]
    if i % 7 == 0:
        payload["void"] = [None, [], {}, "", 0][i // 7 % 5]
    return payload


POINTS = {(i if i % 2 else f"20000000-0000-4000-8000-{i:012}"): payload_of(i) for i in range(60)}
MISSING = object()


def day(payload: dict) -> datetime:
    return datetime.fromisoformat(payload["day"].replace("Z", "+00:00"))


def field(key: str, **more: Any) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key=key, **more)])


def value(key: str, wanted: Any) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=wanted))


def is_empty(payload: dict, key: str) -> bool:
    return payload.get(key) in (None, [])


def square(low: float, high: float) -> models.GeoLineString:
    corners = [(low, low), (high, low), (high, high), (low, high), (low, low)]
    return models.GeoLineString(points=[models.GeoPoint(lon=lon, lat=lat) for lon, lat in corners])


RED, GREEN, EVEN = value("colour", "red"), value("colour", "green"), value("even", True)
HIGH = models.FieldCondition(key="n", range=models.Range(gte=20))
SOME_IDS = list(POINTS)[3:9]

Row = tuple[str, models.Filter, Callable[[Any, dict], bool]]
ROWS: list[Row] = [
    ("match keyword", models.Filter(must=[RED]), lambda _, p: p.get("colour") == "red"),
    ("match integer", field("n", match=models.MatchValue(value=-3)), lambda _, p: p["n"] == -3),
    ("match boolean", models.Filter(must=[EVEN]), lambda _, p: p["even"]),
    ("match one of a list", field("tags", match=models.MatchValue(value="t1")), lambda _, p: "t1" in p["tags"]),
    ("match a uuid", field("ref", match=models.MatchValue(value=UUIDS[2])), lambda _, p: p["ref"] == UUIDS[2]),
    ("match in a nested object", field("nest.deep.v", match=models.MatchValue(value=3)), lambda _, p: p["nest"]["deep"]["v"] == 3),
    ("match through a list", field("items[].kind", match=models.MatchValue(value="apple")), lambda _, p: any(one["kind"] == "apple" for one in p["items"])),
    ("match one place of a list", field("items[0].kind", match=models.MatchValue(value="pear")), lambda _, p: bool(p["items"]) and p["items"][0]["kind"] == "pear"),
    ("match a quoted key", field('"odd key.[x]"', match=models.MatchValue(value=1)), lambda _, p: p["odd key.[x]"] == 1),
    ("match another type", field("mixed", match=models.MatchValue(value="a")), lambda _, p: p["mixed"] == "a"),
    ("match any keyword", field("colour", match=models.MatchAny(any=["red", "blue", "none"])), lambda _, p: p.get("colour") in ("red", "blue")),
    ("match any integer", field("n", match=models.MatchAny(any=[1, 2, 99])), lambda _, p: p["n"] in (1, 2, 99)),
    ("match any of nothing", field("colour", match=models.MatchAny(any=[])), lambda _, p: False),
    ("match except keyword", field("colour", match=models.MatchExcept(**{"except": ["red"]})), lambda _, p: p.get("colour") not in (None, "red")),
    ("match except integer", field("n", match=models.MatchExcept(**{"except": [-10, -9]})), lambda _, p: p["n"] not in (-10, -9)),
    ("match except of other types", field("mixed", match=models.MatchExcept(**{"except": ["a"]})), lambda _, p: p["mixed"] != "a"),
    ("match text", field("text", match=models.MatchText(text="quick fox 1")), lambda _, p: "quick fox 1" in p["text"]),
    ("match phrase", field("text", match=models.MatchPhrase(phrase="fox 2")), lambda _, p: "fox 2" in p["text"]),
    ("match any text", field("text", match=models.MatchTextAny(text_any="nothing 7")), lambda _, p: "7" in p["text"]),
    ("range closed", field("n", range=models.Range(gte=-2, lte=4)), lambda _, p: -2 <= p["n"] <= 4),
    ("range open", field("f", range=models.Range(gt=1.25, lt=3.5)), lambda _, p: 1.25 < p["f"] < 3.5),
    ("range of what is no number", field("text", range=models.Range(gte=0)), lambda _, p: False),
    ("datetime range", field("day", range=models.DatetimeRange(gte=datetime(2026, 3, 1, tzinfo=timezone.utc), lt=datetime(2026, 6, 15, 10, 30, tzinfo=timezone.utc))),
     lambda _, p: datetime(2026, 3, 1, tzinfo=timezone.utc) <= day(p) < datetime(2026, 6, 15, 10, 30, tzinfo=timezone.utc)),
    ("datetime range, inclusive", field("day", range=models.DatetimeRange(gt="2026-02-15T11:30:00+01:00", lte="2026-05-15T10:30:00Z")),
     lambda _, p: datetime(2026, 2, 15, 10, 30, tzinfo=timezone.utc) < day(p) <= datetime(2026, 5, 15, 10, 30, tzinfo=timezone.utc)),
    ("values count", field("tags", values_count=models.ValuesCount(gte=1, lt=3)), lambda _, p: 1 <= len(p["tags"]) < 3),
    ("values count, the other bounds", field("tags", values_count=models.ValuesCount(gt=1, lte=3)), lambda _, p: 1 < len(p["tags"]) <= 3),
    ("is empty", models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="colour"))]), lambda _, p: is_empty(p, "colour")),
    ("is empty of lists and nulls", models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="void"))]), lambda _, p: is_empty(p, "void")),
    ("is null", models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="colour"))]), lambda _, p: p.get("colour", MISSING) is None),
    ("is null of mixtures", models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="void"))]), lambda _, p: p.get("void", MISSING) is None),
    ("field is null", field("colour", is_null=True), lambda _, p: p.get("colour", MISSING) is None),
    ("field is empty", field("tags", is_empty=True), lambda _, p: p["tags"] == []),
    ("has id", models.Filter(must=[models.HasIdCondition(has_id=[*SOME_IDS, 999])]), lambda key, _: key in SOME_IDS),
    ("has vector", models.Filter(must=[models.HasVectorCondition(has_vector="v")]), lambda key, _: True),
    ("has no such vector", models.Filter(must_not=[models.HasVectorCondition(has_vector="v")]), lambda key, _: False),
    ("geo box", field("place", geo_bounding_box=models.GeoBoundingBox(top_left=models.GeoPoint(lon=1.5, lat=3.5), bottom_right=models.GeoPoint(lon=6.5, lat=0.5))),
     lambda _, p: 1.5 < p["place"]["lon"] < 6.5 and 0.5 < p["place"]["lat"] < 3.5),
    ("geo radius", field("place", geo_radius=models.GeoRadius(center=models.GeoPoint(lon=2, lat=2), radius=120_000)),
     lambda _, p: abs(p["place"]["lon"] - 2) + abs(p["place"]["lat"] - 2) <= 1),
    ("geo polygon with a hole", field("place", geo_polygon=models.GeoPolygon(exterior=square(0.5, 4.5), interiors=[square(1.5, 2.5)])),
     lambda _, p: 0.5 < p["place"]["lon"] < 4.5 and 0.5 < p["place"]["lat"] < 4.5 and (p["place"]["lon"], p["place"]["lat"]) != (2, 2)),
    ("match prefix", field("text", match=models.MatchPrefix(prefix="The quick fox 3")), lambda _, p: p["text"].startswith("The quick fox 3")),
    ("must of several", models.Filter(must=[EVEN, HIGH]), lambda _, p: p["even"] and p["n"] >= 20),
    ("should of several", models.Filter(should=[RED, HIGH]), lambda _, p: p.get("colour") == "red" or p["n"] >= 20),
    ("must not of several", models.Filter(must_not=[RED, HIGH]), lambda _, p: p.get("colour") != "red" and p["n"] < 20),
    ("min should", models.Filter(min_should=models.MinShould(conditions=[RED, EVEN, HIGH], min_count=2)),
     lambda _, p: (p.get("colour") == "red") + p["even"] + (p["n"] >= 20) >= 2),
    ("all clauses at once", models.Filter(must=[EVEN], should=[RED, GREEN, HIGH], must_not=[value("n", 22)], min_should=models.MinShould(conditions=[HIGH, GREEN], min_count=1)),
     lambda _, p: p["even"] and (p.get("colour") in ("red", "green") or p["n"] >= 20) and p["n"] != 22 and (p["n"] >= 20 or p.get("colour") == "green")),
    ("filters in filters", models.Filter(must=[models.Filter(should=[RED, models.Filter(must_not=[EVEN])])]), lambda _, p: p.get("colour") == "red" or not p["even"]),
    ("one condition in place of a list", models.Filter(must=RED, must_not=EVEN), lambda _, p: p.get("colour") == "red" and not p["even"]),
    ("nested", models.Filter(must=[models.NestedCondition(nested=models.Nested(key="items", filter=models.Filter(
        must=[value("kind", "apple"), models.FieldCondition(key="price", range=models.Range(gte=10))])))]),
     lambda _, p: any(one["kind"] == "apple" and one["price"] >= 10 for one in p["items"])),
    ("nested must not", models.Filter(must=[models.NestedCondition(nested=models.Nested(key="items", filter=models.Filter(must_not=[value("kind", "apple")])))]),
     lambda _, p: any(one["kind"] != "apple" for one in p["items"])),
    ("no condition", models.Filter(), lambda key, _: True),
]


def every_kind() -> None:
    for shards in (1, 3):
        name = fresh("filters", {"v": models.VectorParams(size=2, distance=models.Distance.DOT)}, shard_number=shards)
        client.upsert(name, [models.PointStruct(id=key, vector={"v": [number, 1]}, payload=payload) for number, (key, payload) in enumerate(POINTS.items())])
        check_rows(name, f"{shards} shards, no index")
        for key, kind in [("colour", "keyword"), ("n", "integer"), ("f", "float"), ("even", "bool"), ("day", "datetime"), ("ref", "uuid"), ("tags", "keyword"),
                          ("items[].kind", "keyword"), ("items[].price", "integer"), ("nest.deep.v", "integer"), ("mixed", "keyword"), ("void", "keyword")]:
            client.create_payload_index(name, key, kind)
        check_rows(name, f"{shards} shards, indexed")
        check_slices(name)
        client.delete(name, models.Filter(must=[RED]))
        same(len(scroll_all(name)), sum(payload.get("colour") != "red" for payload in POINTS.values()))
        client.delete_collection(name)


def check_rows(name: str, how: str) -> None:
    for title, condition, means in ROWS:
        want = sorted(str(key) for key, payload in POINTS.items() if means(key, payload))
        found = sorted(str(point.id) for point in scroll_all(name, page=25, scroll_filter=condition))
        assert found == want, f"{title} ({how}): scroll found {found}, want {want}"
        counted = client.count(name, count_filter=condition).count
        assert counted == len(want), f"{title} ({how}): counted {counted}, want {len(want)}"
        hits = client.query_points(name, query=[1, 0], using="v", query_filter=condition, limit=100).points
        assert sorted(str(hit.id) for hit in hits) == want, f"{title} ({how}): the search found other points"
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True), f"{title} ({how}): scores are not in order"


def check_slices(name: str) -> None:
    """The slices of the ids are disjoint and hold every point; which id falls where is proved beside the hash."""
    slices = [[point.id for point in scroll_all(name, scroll_filter=models.Filter(must=[models.SliceCondition(slice=models.Slice(total=3, index=index))]))] for index in range(3)]
    same(sorted(map(str, sum(slices, []))), sorted(map(str, POINTS)))
    assert all(slices), "three slices of sixty points hold some each"

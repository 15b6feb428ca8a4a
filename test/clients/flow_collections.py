"""Collections: life, configuration, aliases, payload indexes, named vectors on a live collection."""

from flow_support import client, fresh, raw_text, refused, same
from qdrant_client import models

DISTANCES = list(models.Distance)
DATATYPES = [models.Datatype.FLOAT32, models.Datatype.FLOAT16, models.Datatype.UINT8]


def service() -> None:
    same(client.info().model_dump(), {"title": "qdrant - vector search engine", "version": "1.19.0", "commit": "0" * 40})
    same(client.cluster_status().model_dump(), {"status": "disabled"})


def life() -> None:
    """Every distance, datatype and number of shards, unnamed and named."""
    before = {one.name for one in client.get_collections().collections}
    made = set()
    for number, distance in enumerate(DISTANCES):
        for datatype in DATATYPES:
            shards = 1 if (number + DATATYPES.index(datatype)) % 2 else 3
            unnamed, named = f"life-{distance}-{datatype}", f"life-named-{distance}-{datatype}"
            params = models.VectorParams(size=3, distance=distance, datatype=datatype)
            other = models.VectorParams(size=5, distance=models.Distance.DOT)
            assert client.collection_exists(unnamed) is False
            assert client.create_collection(unnamed, vectors_config=params, shard_number=shards) is True
            assert client.create_collection(named, vectors_config={"small": params, "large": other}, shard_number=4 - shards) is True
            assert client.collection_exists(unnamed) is True
            info = client.get_collection(unnamed)
            same(info.config.params.vectors, params)
            same(info.config.params.shard_number, shards)
            same((info.status, info.optimizer_status, info.points_count), (models.CollectionStatus.GREEN, models.OptimizersStatusOneOf.OK, 0))
            same(info.payload_schema, {})
            same(client.get_collection(named).config.params.vectors, {"small": params, "large": other})
            cluster = client.collection_cluster_info(named)
            same([shard.shard_id for shard in cluster.local_shards], list(range(4 - shards)))
            same({shard.state for shard in cluster.local_shards}, {models.ReplicaState.ACTIVE})
            refused(409, f"Wrong input: Collection `{unnamed}` already exists!", client.create_collection, unnamed, vectors_config=params)
            made |= {unnamed, named}
    same({one.name for one in client.get_collections().collections}, before | made)
    for name in sorted(made):
        assert client.delete_collection(name) is True
        assert client.delete_collection(name) is False
    refused(404, "Not found: Collection `life-Dot-uint8` doesn't exist!", client.get_collection, "life-Dot-uint8")
    same({one.name for one in client.get_collections().collections}, before)


def no_vectors() -> None:
    """A collection may have no vectors at all."""
    name = fresh("no-vectors", {})
    client.upsert(name, [models.PointStruct(id=1, vector={}, payload={"a": 1})])
    [point] = client.retrieve(name, [1], with_vectors=True)
    same((point.payload, point.vector), ({"a": 1}, {}))
    client.delete_collection(name)


def configuration() -> None:
    """What a client sets is kept and shown; what it leaves out has the default."""
    name = "configured"
    vector = models.VectorParams(
        size=8, distance=models.Distance.COSINE, on_disk=True,
        hnsw_config=models.HnswConfigDiff(m=24, ef_construct=50),
        quantization_config=models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)),
    )
    client.create_collection(
        name, vectors_config={"v": vector}, shard_number=2, replication_factor=2, write_consistency_factor=1, on_disk_payload=False,
        hnsw_config=models.HnswConfigDiff(m=8, ef_construct=32, full_scan_threshold=20, max_indexing_threads=1, on_disk=True, payload_m=4),
        optimizers_config=models.OptimizersConfigDiff(deleted_threshold=0.5, vacuum_min_vector_number=200, default_segment_number=3, max_segment_size=1000,
                                                      memmap_threshold=2000, indexing_threshold=3000, flush_interval_sec=7, max_optimization_threads=2),
        wal_config=models.WalConfigDiff(wal_capacity_mb=16, wal_segments_ahead=1, wal_retain_closed=2),
        quantization_config=models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=False)),
        strict_mode_config=models.StrictModeConfig(enabled=False, max_query_limit=100), metadata={"owner": "tests", "list": [1, {"b": None}]},
    )
    config = client.get_collection(name).config
    same(config.params.vectors, {"v": vector})
    same((config.params.shard_number, config.params.replication_factor, config.params.write_consistency_factor, config.params.on_disk_payload), (2, 2, 1, False))
    same(config.hnsw_config.model_dump(exclude_none=True), {"m": 8, "ef_construct": 32, "full_scan_threshold": 20, "max_indexing_threads": 1, "on_disk": True, "payload_m": 4})
    same(config.optimizer_config.model_dump(exclude_none=True), {
        "deleted_threshold": 0.5, "vacuum_min_vector_number": 200, "default_segment_number": 3, "max_segment_size": 1000,
        "memmap_threshold": 2000, "indexing_threshold": 3000, "flush_interval_sec": 7, "max_optimization_threads": 2})
    same(config.wal_config.model_dump(exclude_none=True), {"wal_capacity_mb": 16, "wal_segments_ahead": 1, "wal_retain_closed": 2})
    same(config.quantization_config.binary.always_ram, False)
    same((config.strict_mode_config.enabled, config.strict_mode_config.max_query_limit), (False, 100))
    same(config.metadata, {"owner": "tests", "list": [1, {"b": None}]})

    assert client.update_collection(
        name, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0), collection_params=models.CollectionParamsDiff(replication_factor=1, on_disk_payload=True),
        vectors_config={"v": models.VectorParamsDiff(on_disk=False, hnsw_config=models.HnswConfigDiff(m=32), quantization_config=models.Disabled.DISABLED)},
        hnsw_config=models.HnswConfigDiff(m=12), quantization_config=models.ProductQuantization(product=models.ProductQuantizationConfig(compression=models.CompressionRatio.X16)),
        strict_mode_config=models.StrictModeConfig(enabled=False, max_timeout=9), metadata={"owner": None, "more": 1},
    ) is True
    config = client.get_collection(name).config
    same((config.optimizer_config.indexing_threshold, config.optimizer_config.memmap_threshold), (0, 2000))
    same((config.params.replication_factor, config.params.write_consistency_factor, config.params.on_disk_payload), (1, 1, True))
    same((config.params.vectors["v"].on_disk, config.params.vectors["v"].hnsw_config.m, config.params.vectors["v"].hnsw_config.ef_construct), (False, 32, 50))
    same(config.params.vectors["v"].quantization_config, None)
    same((config.hnsw_config.m, config.hnsw_config.ef_construct), (12, 32))
    same(config.quantization_config.product.compression, models.CompressionRatio.X16)
    same((config.strict_mode_config.max_query_limit, config.strict_mode_config.max_timeout), (100, 9))
    same(config.metadata, {"list": [1, {"b": None}], "more": 1})
    client.delete_collection(name)

    fresh(name)
    config = client.get_collection(name).config
    same((config.hnsw_config.m, config.hnsw_config.ef_construct, config.hnsw_config.full_scan_threshold), (16, 100, 10_000))
    same((config.optimizer_config.indexing_threshold, config.optimizer_config.flush_interval_sec), (10_000, 5))
    same((config.wal_config.wal_capacity_mb, config.wal_config.wal_retain_closed), (32, 1))
    same((config.params.shard_number, config.params.replication_factor, config.params.on_disk_payload), (1, 1, True))
    same((config.quantization_config, config.strict_mode_config, config.metadata), (None, None, None))
    client.delete_collection(name)


def aliases() -> None:
    one, two = fresh("alias-one"), fresh("alias-two")
    client.upsert(one, [models.PointStruct(id=1, vector=[1, 0, 0, 0])])
    client.upsert(two, [models.PointStruct(id=2, vector=[1, 0, 0, 0])])

    def create(alias: str, name: str) -> models.CreateAliasOperation:
        return models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=alias))

    def listed(name: str) -> list[str]:
        found = client.get_collection_aliases(name).aliases
        same({entry.collection_name for entry in found} - {name}, set())
        return sorted(entry.alias_name for entry in found)

    assert client.update_collection_aliases([create("live", one), create("also", one), create("next", two)]) is True
    same(listed(one), ["also", "live"])
    same(sorted((entry.alias_name, entry.collection_name) for entry in client.get_aliases().aliases), [("also", one), ("live", one), ("next", two)])
    same([hit.id for hit in client.query_points("live", query=[1, 0, 0, 0]).points], [1])
    assert client.collection_exists("live") is True
    # The switch of two names happens at once.
    assert client.update_collection_aliases([
        models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="live")), create("live", two),
        models.RenameAliasOperation(rename_alias=models.RenameAlias(old_alias_name="next", new_alias_name="old")), create("old", one),
    ]) is True
    same((listed(one), listed(two)), (["also", "old"], ["live"]))
    same([hit.id for hit in client.query_points("live", query=[1, 0, 0, 0]).points], [2])
    client.upsert("live", [models.PointStruct(id=3, vector=[2, 0, 0, 0])])
    same(client.count(two).count, 2)
    refused(409, f"Wrong input: Collection `{two}` already exists!", client.update_collection_aliases, [create("fresh", one), create(two, one)])
    same(listed(one), ["also", "old"])
    refused(400, "Wrong input: Can't create collection with name live. Alias with the same name already exists", client.create_collection, "live",
            vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    refused(404, "Not found: Alias absent does not exists!", client.update_collection_aliases,
            [models.RenameAliasOperation(rename_alias=models.RenameAlias(old_alias_name="absent", new_alias_name="x"))])
    refused(404, "Not found: Collection `none` doesn't exist!", client.update_collection_aliases, [create("x", "none")])
    assert client.update_collection_aliases([models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="absent"))]) is True
    client.delete_collection(one)
    same([entry.alias_name for entry in client.get_aliases().aliases], ["live"])
    refused(404, "Not found: Collection `also` doesn't exist!", client.get_collection, "also")
    client.delete_collection(two)
    same(client.get_aliases().aliases, [])


def indexes() -> None:
    """The six types, with and without parameters, before and after the points."""
    name = fresh("indexes", shard_number=3)
    points = [models.PointStruct(id=i, vector=[1, 0, 0, 0], payload={
        "k": f"w{i % 3}", "i": i, "f": i / 2, "b": i % 2 == 0, "d": f"2026-01-{i + 1:02}T00:00:00Z", "u": f"00000000-0000-0000-0000-{i:012}", "deep": {"list": [{"k": i}]}}) for i in range(20)]
    schemas = {
        "k": (models.PayloadSchemaType.KEYWORD, models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True, on_disk=True)),
        "i": (models.PayloadSchemaType.INTEGER, models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=True, is_principal=False)),
        "f": (models.PayloadSchemaType.FLOAT, models.FloatIndexParams(type=models.FloatIndexType.FLOAT, is_principal=True)),
        "b": (models.PayloadSchemaType.BOOL, models.BoolIndexParams(type=models.BoolIndexType.BOOL, on_disk=False)),
        "d": (models.PayloadSchemaType.DATETIME, models.DatetimeIndexParams(type=models.DatetimeIndexType.DATETIME, is_principal=False)),
        "u": (models.PayloadSchemaType.UUID, models.UuidIndexParams(type=models.UuidIndexType.UUID, is_tenant=False)),
    }
    for field in ["k", "f", "d"]:
        same(client.create_payload_index(name, field, schemas[field][0], wait=True).status, models.UpdateStatus.COMPLETED)
    client.upsert(name, points, wait=True)
    for field in ["i", "b", "u"]:
        same(client.create_payload_index(name, field, schemas[field][1], wait=True).status, models.UpdateStatus.COMPLETED)
    client.create_payload_index(name, "deep.list[].k", models.PayloadSchemaType.INTEGER)
    schema = client.get_collection(name).payload_schema
    same({field: entry.data_type for field, entry in schema.items()}, {**{field: kind for field, (kind, _) in schemas.items()}, "deep.list[].k": models.PayloadSchemaType.INTEGER})
    same({entry.points for entry in schema.values()}, {20})
    same({field: schema[field].params for field in "kifbdu"}, {field: None if field in "kfd" else schemas[field][1] for field in "kifbdu"})
    for field in ["k", "f", "d"]:  # another schema for the same field replaces the index
        client.create_payload_index(name, field, schemas[field][1])
    schema = client.get_collection(name).payload_schema
    same({field: schema[field].params for field in "kifbdu"}, {field: schemas[field][1] for field in "kifbdu"})
    same(client.create_payload_index(name, "later", models.PayloadSchemaType.KEYWORD, wait=False).status, models.UpdateStatus.ACKNOWLEDGED)
    same(client.delete_payload_index(name, "deep.list[].k", wait=True).status, models.UpdateStatus.COMPLETED)
    same(sorted(client.get_collection(name).payload_schema), ["b", "d", "f", "i", "k", "later", "u"])
    same(client.count(name, count_filter=models.Filter(must=[models.FieldCondition(key="deep.list[].k", match=models.MatchValue(value=3))])).count, 1)
    assert '"points":20' in raw_text("GET", f"/collections/{name}")
    client.delete_collection(name)


def vector_names() -> None:
    """A named vector comes and goes on a live collection."""
    name = fresh("vector-names", {"a": models.VectorParams(size=2, distance=models.Distance.DOT)}, shard_number=3)
    client.upsert(name, [models.PointStruct(id=i, vector={"a": [i, 1]}) for i in range(5)])
    config = models.DenseVectorNameConfig(dense=models.DenseVectorConfig(size=3, distance=models.Distance.EUCLID, datatype=models.Datatype.FLOAT16))
    same(client.create_vector_name(name, "b", config, wait=True).status, models.UpdateStatus.COMPLETED)
    same(client.get_collection(name).config.params.vectors["b"], models.VectorParams(size=3, distance=models.Distance.EUCLID, datatype=models.Datatype.FLOAT16))
    client.update_vectors(name, [models.PointVectors(id=2, vector={"b": [1, 2, 2]})])
    [hit] = client.query_points(name, query=[0, 0, 0], using="b", with_vectors=True).points
    same((hit.id, hit.score, hit.vector), (2, 3.0, {"a": [2, 1], "b": [1, 2, 2]}))
    same(client.delete_vector_name(name, "b", wait=True).status, models.UpdateStatus.COMPLETED)
    same(sorted(client.get_collection(name).config.params.vectors), ["a"])
    refused(400, "Wrong input: Not existing vector name error: b", client.query_points, name, query=[0, 0, 0], using="b")
    same(client.retrieve(name, [2], with_vectors=True)[0].vector, {"a": [2, 1]})
    client.delete_collection(name)

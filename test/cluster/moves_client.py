"""Moves, replicates and drops shards of a collection with two shards of one replica each. Arguments: URL of a node, collection."""
import sys
import time

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

url, name = sys.argv[1:]
client = QdrantClient(url=url, timeout=60)
status = client.cluster_status()
peers = [int(peer) for peer in status.peers]


def holders(shard):
    info = client.collection_cluster_info(name)
    local = [(info.peer_id, each.state) for each in info.local_shards if each.shard_id == shard]
    return dict(local + [(each.peer_id, each.state) for each in info.remote_shards if each.shard_id == shard])


def wait_for(shard, wanted):
    until = time.monotonic() + 120
    while True:
        found = holders(shard)
        if set(found) == set(wanted) and set(found.values()) == {models.ReplicaState.ACTIVE} and not client.collection_cluster_info(name).shard_transfers:
            return
        assert time.monotonic() < until, found
        time.sleep(0.1)


(source,) = holders(0)
# the node that is asked cannot be told to remove itself, so it is never the third
target, third = sorted((peer for peer in peers if peer != source), key=lambda peer: peer != status.peer_id)
move = models.MoveShard(shard_id=0, from_peer_id=source, to_peer_id=target, method=models.ShardTransferMethod.SNAPSHOT)
assert client.cluster_collection_update(name, models.MoveShardOperation(move_shard=move), timeout=30) is True
wait_for(0, [target])

copy = models.ReplicateShard(shard_id=0, from_peer_id=target, to_peer_id=third)
assert client.cluster_collection_update(name, models.ReplicateShardOperation(replicate_shard=copy)) is True
wait_for(0, [target, third])

drop = models.DropReplicaOperation(drop_replica=models.Replica(shard_id=0, peer_id=target))
assert client.cluster_collection_update(name, drop) is True
wait_for(0, [third])

try:
    client.remove_peer(third)
    raise AssertionError("a node with shards was removed")
except UnexpectedResponse as error:
    assert error.status_code == 400 and b"as there are shards on it" in error.content, error.content

"""The router between certificates and tokens: mutual TLS to the shard servers, TLS to its clients."""
import random

import grpc
import pytest

from certs import make_certificates
from protos import load
from shards import ShardCluster
from test_router import all_events, make_batches
from waiting import poll_until

pb, stubs = load("schemas/router.proto")


@pytest.fixture
def cluster(procs, bin_dir, tmp_path, kafka, topic, seed):
    make_certificates(tmp_path, ("shard", "router", "stranger"))
    f = lambda name: tmp_path / name
    shard_options = [f"grpc.tls.cert_file={f('shard.crt')}", f"grpc.tls.key_file={f('shard.key')}",
                     f"grpc.tls.ca_file={f('ca.crt')}"]
    (tmp_path / "token").write_text("sesame\n", "ascii")
    router_options = [f"shard_tls.ca_file={f('ca.crt')}", f"shard_tls.cert_file={f('router.crt')}",
                      f"shard_tls.key_file={f('router.key')}", "shard_tls.server_name=shard.test",
                      f"grpc.tls.cert_file={f('router.crt')}", f"grpc.tls.key_file={f('router.key')}",
                      "grpc.token=${file:%s}" % f("token")]
    c = ShardCluster(procs, bin_dir, tmp_path, kafka.bootstrap, topic, ["0-1", "2-3"],
                     router_options=router_options, shard_options=shard_options)
    c.folder = tmp_path
    c.batches = make_batches(random.Random(seed), 4, 8, 50)
    c.events = all_events(c.batches)
    c.start()
    c.produce(c.batches)
    c.wait_indexed(len(c.events))
    return c


def test_mutual_tls_to_shards(cluster):
    assert [r["_msg"] for r in cluster.query("*", limit=30)] == [e[4] for e in cluster.events[-30:]]
    with grpc.insecure_channel(cluster.shards[0].grpc) as channel:  # plain text is not let in
        shard_pb, shard_stubs = load("schemas/shard.proto")
        with pytest.raises(grpc.RpcError) as e:
            shard_stubs.ShardStub(channel).Status(shard_pb.StatusRequest(), timeout=5)
        assert e.value.code() == grpc.StatusCode.UNAVAILABLE


def test_token_over_tls(cluster):
    read = lambda name: (cluster.folder / name).read_bytes()
    tls = grpc.ssl_channel_credentials(read("ca.crt"))
    with grpc.secure_channel(cluster.grpc, tls) as channel:
        stub = stubs.QueryStub(channel)
        for metadata in ([], [("authorization", "Bearer guess")]):
            with pytest.raises(grpc.RpcError) as e:
                list(stub.Search(pb.SearchRequest(query="*", limit=1), timeout=10, metadata=metadata))
            assert e.value.code() == grpc.StatusCode.UNAUTHENTICATED
        good = [("authorization", "Bearer sesame")]
        got = list(stub.Search(pb.SearchRequest(query="*", limit=1), timeout=10, metadata=good))
        assert got[-1].end.rows == 1
    log = cluster.router.log(whole=True)
    assert "sesame" not in log


def test_a_shard_whose_certificate_is_another(cluster):
    """A server that is not whom we meant is as good as none, and named."""
    for name in ("shard.crt", "shard.key"):
        (cluster.folder / name).write_bytes((cluster.folder / name.replace("shard", "stranger")).read_bytes())
    cluster.shards[1].process.terminate()
    cluster.shards[1].process.start()
    cluster.wait_ready(cluster.shards[1].process)

    def partial():
        headers = cluster.ask("*", limit=1)[1]
        return headers.get("X-Telescope-Partial", "")
    assert poll_until(partial, 20, "the stranger is refused").startswith("partition 2,3: " + cluster.shards[1].grpc)

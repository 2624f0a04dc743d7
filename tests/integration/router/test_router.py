"""telescope-router in front of real shard servers and a real Kafka, asked over HTTP and by grpcio."""
import json
import random
import signal
import socket
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from protos import load
from shards import SECOND, START_NS, ShardCluster
from topics import create_topic, new_topic_name
from waiting import poll_until

pb, stubs = load("schemas/router.proto")
APPS = ["nginx", "sshd", "cron"]
WORDS = ["error while reading", "connection closed", "all is fine", "warning: slow disk"]


def make_batches(rnd, partitions, batches, per_batch):
    """Events whose times collide across partitions, each with an id."""
    out, n = [], 0
    for b in range(batches):
        partition = b % partitions
        app = APPS[partition % len(APPS)]
        events = []
        for _ in range(per_batch):
            t = START_NS + rnd.randrange(batches * per_batch // 20 + 1) * SECOND
            events.append((t, f"{rnd.choice(WORDS)} id={n:06d}", {"id": f"{n:06d}", "n": str(n % 7)}))
            n += 1
        out.append((partition, f"s{partition}", {"app": app, "host": f"h{partition}"}, events))
    return out


def all_events(batches):
    """(time, partition, offset, index, body) as they must be ordered."""
    offsets, out = {}, []
    for partition, _, _, events in batches:
        offset = offsets.get(partition, 0)
        offsets[partition] = offset + 1
        out += [(t, partition, offset, i, body) for i, (t, body, _) in enumerate(events)]
    return sorted(out)


@pytest.fixture
def cluster(procs, bin_dir, tmp_path, kafka, topic, seed):
    c = ShardCluster(procs, bin_dir, tmp_path, kafka.bootstrap, topic, ["0-1", "2-3"])
    c.batches = make_batches(random.Random(seed), 4, 40, 250)
    c.events = all_events(c.batches)
    c.start()
    c.produce(c.batches)
    c.wait_indexed(len(c.events))
    return c


def stub(cluster):
    return stubs.QueryStub(grpc.insecure_channel(cluster.grpc))


def rows_of(stream):
    rows, end = [], None
    for message in stream:
        assert end is None, "something stands behind the end"
        if message.WhichOneof("kind") == "rows":
            rows += [{f.name: f.value.decode() for f in row.fields} for row in message.rows.rows]
        else:
            end = message.end
    assert end is not None
    return rows, end


def test_rows_over_http(cluster):
    for limit in (1, 17, 1000):
        got = [r["_msg"] for r in cluster.query("*", limit=limit)]
        assert got == [e[4] for e in cluster.events[-limit:]]
    assert [r["_msg"] for r in cluster.query("*", limit=20, offset=100)] == [e[4] for e in cluster.events[-120:-100]]
    errors = [e[4] for e in cluster.events if e[4].startswith("error")]
    assert sorted(r["_msg"] for r in cluster.query("error")) == sorted(errors)
    assert [r["_msg"] for r in cluster.query("error", limit=50)] == errors[-50:]
    row = cluster.query(f"id={cluster.events[0][4][-6:]}", limit=1)[0]
    assert row["_msg"] == cluster.events[0][4]
    assert row["_time"].startswith("2023-11-14T22:13:20") and row["_stream"].startswith('{app="')
    assert row["id"] == row["_msg"][-6:]


def test_pipes_over_http(cluster):
    total = len(cluster.events)
    assert cluster.count("*") == total
    by_app = {r["app"]: int(r["n"]) for r in cluster.query("* | stats by (app) count() n")}
    assert by_app == {"nginx": 5000, "sshd": 2500, "cron": 2500}
    newest = cluster.query("* | sort by (_time) desc | limit 5 | fields _time")
    assert [r["_time"] for r in newest] == sorted((r["_time"] for r in newest), reverse=True)
    status, _, body = cluster.ask("* | stats by (host | count()")
    assert status == 400 and b"column" in body
    status, _, body = cluster.ask("*", path="hits", step="1d")
    assert status == 200 and json.loads(body)["hits"][0]["total"] == total
    status, _, body = cluster.ask("*", path="streams")
    assert status == 200 and len(json.loads(body)["values"]) == 4
    status, _, body = cluster.ask("*", path="field_values", field="n")
    assert {v["value"] for v in json.loads(body)["values"]} == {str(i) for i in range(7)}
    status, _, body = cluster.get(cluster.http, "/select/status")
    assert status == 200 and [s["state"] for s in json.loads(body)["shards"]] == ["ready"] * 4
    status, _, body = cluster.get(cluster.http, "/metrics")
    assert status == 200 and b"telescope_router_queries_total" in body


def test_grpcio_search_and_streams(cluster):
    rows, end = rows_of(stub(cluster).Search(pb.SearchRequest(query="*", limit=25), timeout=20))
    assert [r["_msg"] for r in rows] == [e[4] for e in cluster.events[-25:]]
    assert end.rows == 25 and not end.missing
    rows, end = rows_of(stub(cluster).Search(pb.SearchRequest(query="*"), timeout=20))
    assert sorted(r["_msg"] for r in rows) == sorted(e[4] for e in cluster.events)
    rows, _ = rows_of(stub(cluster).Search(
        pb.SearchRequest(query="*", start_ns=START_NS, end_ns=START_NS + SECOND), timeout=20))
    assert len(rows) == sum(e[0] == START_NS for e in cluster.events)
    rows, end = rows_of(stub(cluster).Search(pb.SearchRequest(query="* | stats count() n"), timeout=20))
    assert rows == [{"n": str(len(cluster.events))}]
    rows, _ = rows_of(stub(cluster).Search(pb.SearchRequest(query="*", tenant="nobody"), timeout=20))
    assert rows == []
    status = stub(cluster).Status(pb.StatusRequest(), timeout=20)
    assert [(s.partition, s.state) for s in status.shards] == [(p, "ready") for p in range(4)]
    for bad in (pb.SearchRequest(query="error ("), pb.SearchRequest(query="*", tenant="a b")):
        with pytest.raises(grpc.RpcError) as e:
            list(stub(cluster).Search(bad, timeout=20))
        assert e.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_grpcio_deadline_and_cancel(cluster):
    for s in cluster.shards:
        s.process.signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises(grpc.RpcError) as e:
            list(stub(cluster).Search(pb.SearchRequest(query="*"), timeout=0.5))
        assert e.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
        assert time.monotonic() - start < 3
        call = stub(cluster).Search(pb.SearchRequest(query="*"), timeout=30)
        timer = threading.Timer(0.3, call.cancel)
        timer.start()
        start = time.monotonic()
        with pytest.raises(grpc.RpcError) as e:
            list(call)
        assert e.value.code() == grpc.StatusCode.CANCELLED and time.monotonic() - start < 3
    finally:
        for s in cluster.shards:
            s.process.signal(signal.SIGCONT)

    def running():
        _, _, body = cluster.get(cluster.http, "/metrics")
        return [line for line in body.decode().splitlines() if line.startswith("telescope_router_queries_running ")]
    poll_until(lambda: running()[0].endswith(" 0"), 10, "the cancelled query's end")
    assert cluster.count("*") == len(cluster.events)


def test_grpcio_health_and_reflection(cluster):
    for address, service in ((cluster.grpc, "telescope.router.v1.Query"),
                             (cluster.shards[0].grpc, "telescope.shard.v1.Shard")):
        channel = grpc.insecure_channel(address)
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", service):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        database = ProtoReflectionDescriptorDatabase(channel)
        assert service in database.get_services()
        file = database.FindFileContainingSymbol(service)
        assert [m.name for s in file.service for m in s.method] == ["Search", "Status"]


def test_a_server_goes_and_comes_back(cluster):
    gone = cluster.shards[1]
    gone.process.kill9()
    status, headers, body = cluster.ask("* | stats count() n")
    assert status == 200
    assert headers["X-Telescope-Partial"].startswith("partition 2,3: " + gone.grpc)
    assert json.loads(body)["n"] == str(sum(e[1] < 2 for e in cluster.events))
    status, _, body = cluster.ask("*", limit=5, allow_partial_response=0)
    assert status == 503 and gone.grpc.encode() in body
    rows, end = rows_of(stub(cluster).Search(pb.SearchRequest(query="*", limit=5), timeout=20))
    assert len(rows) == 5 and end.missing[0].startswith("partition 2,3: ")
    with pytest.raises(grpc.RpcError) as e:
        list(stub(cluster).Search(pb.SearchRequest(query="*", refuse_partial=True), timeout=20))
    assert e.value.code() == grpc.StatusCode.UNAVAILABLE
    gone.process.start()
    poll_until(lambda: "X-Telescope-Partial" not in cluster.ask("*", limit=1)[1], 30, "the server's return")
    cluster.wait_indexed(len(cluster.events))


def test_a_client_that_hangs_up(cluster):
    """The query of a client that goes is given up, though the shards are silent."""
    for s in cluster.shards:
        s.process.signal(signal.SIGSTOP)
    try:
        host, port = cluster.http.split(":")
        with socket.create_connection((host, int(port))) as s:
            s.sendall(b"GET /select/logsql/query?query=* HTTP/1.1\r\nHost: x\r\n\r\n")
            def gauge(name):
                _, _, body = cluster.get(cluster.http, "/metrics")
                return float(next(l for l in body.decode().splitlines() if l.startswith(name + " ")).split()[1])
            poll_until(lambda: gauge("telescope_router_queries_running") == 1, 10, "the query's start")
        poll_until(lambda: gauge("telescope_router_queries_running") == 0, 5, "the query's end")
        assert gauge("telescope_router_queries_cancelled_total") == 1
    finally:
        for s in cluster.shards:
            s.process.signal(signal.SIGCONT)


def test_replicas(procs, bin_dir, tmp_path, kafka, topic, seed):
    """Two replicas of everything: one is killed, one is frozen, and answers stay whole."""
    c = ShardCluster(procs, bin_dir, tmp_path, kafka.bootstrap, topic, ["0-1", "0-1", "2-3", "2-3"],
                     router_options=["query.hedge_after=100ms"])
    c.batches = make_batches(random.Random(seed), 4, 20, 200)
    c.events = all_events(c.batches)
    c.start()
    c.produce(c.batches)

    def caught_up():
        _, _, body = c.get(c.http, "/select/status")
        return sum(s["events"] for s in json.loads(body)["shards"]) == 2 * len(c.events)
    poll_until(caught_up, 30, "all replicas have all events")
    c.shards[0].process.kill9()
    c.shards[3].process.signal(signal.SIGSTOP)
    try:
        for _ in range(6):
            start = time.monotonic()
            assert [r["_msg"] for r in c.query("*", limit=50)] == [e[4] for e in c.events[-50:]]
            assert c.count("*") == len(c.events)
            assert time.monotonic() - start < 5
    finally:
        c.shards[3].process.signal(signal.SIGCONT)


def test_a_frozen_server_is_learned(procs, bin_dir, tmp_path, kafka, topic, seed):
    """A frozen process takes connections and says nothing. The first query to meet it waits for
    hedge_after, and no other; when it runs again, it is asked again."""
    hedge_seconds = 4
    c = ShardCluster(procs, bin_dir, tmp_path, kafka.bootstrap, topic, ["0-1", "0-1", "2-3", "2-3"],
                     router_options=[f"query.hedge_after={hedge_seconds}s"])
    c.batches = make_batches(random.Random(seed), 4, 8, 100)
    c.events = all_events(c.batches)
    c.start()
    c.produce(c.batches)
    poll_until(lambda: all(c.metric(s.admin, "telescope_shard_events_total") == len(c.events) / 2 for s in c.shards),
               60, "all replicas have all events")
    frozen = c.shards[2]
    searches = lambda: c.metric(frozen.admin, "telescope_shard_searches_total")
    hedges = lambda: c.metric(c.http, "telescope_router_hedges_total")
    newest = [e[4] for e in c.events[-50:]]

    def ask():
        start = time.monotonic()
        assert [r["_msg"] for r in c.query("*", limit=50)] == newest
        assert c.count("*") == len(c.events)
        return time.monotonic() - start
    for _ in range(4):
        ask()
    assert hedges() == 0 and searches() > 0
    frozen.process.signal(signal.SIGSTOP)
    try:
        for _ in range(4):  # each replica is first in turn
            ask()
        learned = hedges()
        assert learned == 1
        times = sorted(ask() for _ in range(40))
        assert hedges() == learned, "a query has waited for the frozen server again"
        assert times[-1] < hedge_seconds
    finally:
        frozen.process.signal(signal.SIGCONT)
    print(f"TEL_SEED={seed}: pairs of queries beside a frozen server, once it is known: median "
          f"{times[20] * 1e3:.0f} ms, slowest {times[-1] * 1e3:.0f} ms")
    c.router.wait_line("answers again", 60)
    before = searches()
    for _ in range(4):
        ask()
    assert searches() > before


def test_many_servers_some_down(procs, bin_dir, tmp_path, kafka, seed):
    """Ten servers hold ten partitions twice; while one is killed and one frozen, others in turn, no
    answer is partial and none takes long."""
    rnd = random.Random(seed)
    topic = create_topic(kafka.bootstrap, new_topic_name(), partitions=10)
    holdings = [f"{i},{(i + 1) % 10}" for i in range(10)]
    c = ShardCluster(procs, bin_dir, tmp_path, kafka.bootstrap, topic, holdings,
                     router_options=["query.hedge_after=200ms"])
    c.batches = make_batches(rnd, 10, 40, 100)
    c.events = all_events(c.batches)
    c.start()
    c.produce(c.batches)

    def events():
        _, _, body = c.get(c.http, "/select/status")
        return [s["events"] for s in json.loads(body)["shards"]]
    poll_until(lambda: sum(events()) == 2 * len(c.events), 60, lambda: f"all events twice; there are {events()}")
    newest = [e[4] for e in c.events[-100:]]
    times = []
    for _ in range(3):
        killed = rnd.randrange(10)
        frozen = (killed + rnd.choice([2, 3, 4, 5, 6, 7, 8])) % 10  # no partition loses both of its servers
        c.shards[killed].process.kill9()
        c.shards[frozen].process.signal(signal.SIGSTOP)
        try:
            for _ in range(25):
                start = time.monotonic()
                assert [r["_msg"] for r in c.query("*", limit=100)] == newest
                assert c.count("*") == len(c.events)
                times.append((time.monotonic() - start) / 2)
        finally:
            c.shards[frozen].process.signal(signal.SIGCONT)
        c.shards[killed].process.start()
        c.wait_ready(c.shards[killed].process)
        poll_until(lambda: sum(events()) == 2 * len(c.events), 30, "the server that was killed is back")
    times.sort()
    print(f"TEL_SEED={seed}: {len(times)} pairs of queries, median {times[len(times) // 2] * 1e3:.0f} ms, "
          f"slowest {times[-1] * 1e3:.0f} ms")
    assert times[-1] < 5


def test_reload_and_stop(cluster):
    """SIGHUP takes a new shard map; SIGTERM ends the router well."""
    config = cluster.router.argv[2]
    text = open(config, encoding="utf-8").read()
    with open(config, "w", encoding="utf-8") as f:
        f.write("shards = (\n  { address = \"%s\"; partitions = \"0-1\"; }\n);\n" % cluster.shards[0].grpc)
    cluster.router.signal(signal.SIGHUP)
    half = sum(e[1] < 2 for e in cluster.events)
    poll_until(lambda: cluster.count("*") == half, 10, "the smaller map")
    with open(config, "w", encoding="utf-8") as f:
        f.write(text.replace("partitions = \"2-3\"", "partitions = \"2-x\""))
    cluster.router.signal(signal.SIGHUP)
    cluster.router.wait_line("partitions", 10)
    assert cluster.count("*") == half
    cluster.router.terminate()

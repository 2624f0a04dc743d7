"""When the client goes away, its searches on the shard servers end: over HTTP, whose client hangs up, and
over gRPC, whose client cancels, through the router, while the shards work on a query that takes long."""
import socket
import threading
import time
import urllib.parse

import grpc
import pytest

from protos import load
from shards import SECOND, START_NS, ShardCluster
from waiting import poll_until

pb, stubs = load("schemas/router.proto")
ROUNDS = 5


def slow(number):
    """Every row is tried with every expression, and none matches: much work. Shards keep the results of a query
    with statistics for each segment, so no two are alike."""
    return " or ".join(f'~"row [0-9]*{n % 10} .*is q{n}x{number}[a-z]*$"' for n in range(4000)) + " | stats count() n"


@pytest.fixture
def cluster(procs, bin_dir, tmp_path, kafka, topic):
    c = ShardCluster(procs, bin_dir, tmp_path, kafka.bootstrap, topic, ["0-1", "2-3"])
    c.start()
    batch = lambda p, b: (p, f"s{p}", {"app": "a"}, [
        (START_NS + i * SECOND, f"row {i} of batch {b} in partition {p} is q{i}y", {}) for i in range(2000)])
    c.produce([batch(p, b) for b in range(5) for p in range(4)])
    c.wait_indexed(40000, 120)
    return c


def running(cluster):
    """Searches that run on the shard servers."""
    return sum(cluster.metric(s.admin, "telescope_shard_searches_running") for s in cluster.shards)


def measure(cluster, begin, face):
    """begin(n) starts a query and returns what makes its client go. Milliseconds until the shards are idle."""
    times = []
    for number in range(ROUNDS):
        go = begin(number)
        poll_until(lambda: running(cluster) == 2, 30, "a search on each shard server", 0.005)
        cancelled = cluster.metric(cluster.http, "telescope_router_queries_cancelled_total")
        start = time.monotonic()
        go()
        poll_until(lambda: running(cluster) == 0, 20, "the searches' end", 0.002)
        times.append((time.monotonic() - start) * 1e3)
        poll_until(lambda: cluster.metric(cluster.http, "telescope_router_queries_cancelled_total") == cancelled + 1,
                   10, "the query counted as cancelled")
    times.sort()
    print(f"{face}: searches end {times[ROUNDS // 2]:.0f} ms (median; slowest {times[-1]:.0f} ms) after the client "
          "has gone, the two looks at the shards' metrics included")
    # The aim is 50 ms. This bound only tells a cancelled search from one that runs on, on any machine.
    assert times[ROUNDS // 2] < 3000


def test_http_client_hangs_up(cluster):
    host, port = cluster.http.split(":")

    def begin(number):
        body = urllib.parse.urlencode({"query": slow(number), "timeout": "300s"})
        s = socket.create_connection((host, int(port)))
        s.sendall(f"POST /select/logsql/query HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
                  f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}".encode())
        return s.close
    measure(cluster, begin, "HTTP")


def test_grpc_client_cancels(cluster):
    stub = stubs.QueryStub(grpc.insecure_channel(cluster.grpc))

    def begin(number):
        call = stub.Search(pb.SearchRequest(query=slow(ROUNDS + number)), timeout=300)

        def read():
            try:
                list(call)
            except grpc.RpcError:
                pass  # its code is looked at below
        thread = threading.Thread(target=read)
        thread.start()

        def go():
            call.cancel()
            thread.join()
            assert call.code() == grpc.StatusCode.CANCELLED
        return go
    measure(cluster, begin, "gRPC")

"""Kept replies over HTTP: when they are the answer, that it is said, and cache=off."""
import json

import pytest

from standalone import Standalone
from waiting import poll_until

RANGE = {"start": "2026-01-02T00:00:00Z", "end": "2026-01-03T00:00:00Z"}


@pytest.fixture
def server(procs, bin_dir, tmp_path):
    s = Standalone(procs, bin_dir, tmp_path / "data").start()
    yield s
    if s.process.alive():
        s.stop()


def rows(day, n):
    return [{"_time": f"{day}T03:04:{i % 60:02d}Z", "_msg": f"event number {i}", "app": "shop"} for i in range(n)]


def ask(server, query, **args):
    status, headers, body = server.get("/select/logsql/query", query=query, **RANGE, **args)
    assert status == 200
    return headers.get("X-Telescope-Cache"), sorted(body.splitlines())


def metric(server, name):
    _, _, body = server.get("/metrics")
    return sum(float(line.split()[-1]) for line in body.decode().splitlines() if line.startswith(name))


def is_whole(said):
    return said is not None and said.split("/")[0] == said.split("/")[1]


@pytest.mark.parametrize("query", ["event", "* | stats by (app) count() n", "number | sort by (_msg) limit 3"])
def test_kept(server, query):
    assert server.insert(rows("2026-01-02", 100), _stream_fields="app")
    server.wait_count("*", 100)
    first, answer = ask(server, query, cache="off")
    assert first is None and answer
    poll_until(lambda: is_whole(ask(server, query)[0]), 20, "a reply that is kept")
    assert ask(server, query) [1] == answer
    assert ask(server, query, cache="off") == (None, answer)
    hits = metric(server, "telescope_router_cache_hits_total")
    assert hits > 0 and metric(server, "telescope_router_cache_bytes") > 0
    # what is outside of the range changes nothing, what is inside does
    assert server.insert(rows("2026-01-05", 7), _stream_fields="app")
    server.wait_count("*", 107)
    said, now = ask(server, query)
    assert is_whole(said) and now == answer
    assert server.insert([{"_time": "2026-01-02T01:00:00Z", "_msg": "an event number", "app": "shop"}],
                         _stream_fields="app")
    server.wait_count("*", 108)
    said, now = ask(server, query)
    assert not is_whole(said) and now == ask(server, query, cache="off")[1]
    assert now != answer


def test_explained_and_refused(server):
    assert server.insert(rows("2026-01-02", 10), _stream_fields="app")
    server.wait_count("*", 10)
    poll_until(lambda: is_whole(ask(server, "event")[0]), 20, "a reply that is kept")
    _, _, body = server.get("/select/logsql/query", query="event", explain="1", **RANGE)
    told = json.loads(body)
    assert told["unchanged"] == told["searches"]
    assert {s["outcome"] for s in told["shards"]} == {"unchanged"}
    _, _, body = server.get("/select/logsql/query", query="event", explain="1", cache="off", **RANGE)
    assert json.loads(body)["unchanged"] == 0
    status, _, text = server.get("/select/logsql/query", query="event", cache="maybe", **RANGE)
    assert status == 400 and b"cache" in text

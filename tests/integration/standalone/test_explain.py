"""What a query did, told by explain: counts that are known from what was put in."""
import json

import grpc
import pytest

from protos import load
from standalone import Standalone

pb, stubs = load("schemas/router.proto")

DAYS = 4
PER_DAY = 200


@pytest.fixture
def server(procs, bin_dir, tmp_path):
    """Segments of four days, two streams and two tenants, and nothing in memory."""
    s = Standalone(procs, bin_dir, tmp_path / "data", options=["queue.partitions=1"]).start()
    for day in range(1, DAYS + 1):
        rows = [{"_time": f"2026-01-0{day}T00:00:{n % 60:02d}Z", "_msg": f"user {n} logged in from 10.0.0.{n % 9}",
                 "app": f"a{n % 2}"} for n in range(PER_DAY)]
        assert s.insert(rows, _stream_fields="app")
        assert s.insert(rows[:10], headers={"X-Scope-OrgID": "other"}, _stream_fields="app")
    s.wait_count("*", DAYS * PER_DAY)
    s.stop()
    s.start()
    s.wait_count("*", DAYS * PER_DAY)
    yield s
    s.stop()


def explain(server, query, path="query", **args):
    """(the whole, the shard's part)"""
    status, _, body = server.get("/select/logsql/" + path, query=query, explain="1", **{"cache": "off", **args})
    assert status == 200, body
    whole = json.loads(body)
    assert len(whole["shards"]) == 1 and whole["shards"][0]["outcome"] == "answered" and not whole["missing"]
    return whole, whole["shards"][0]


def segments_of(shard):
    return sum(shard[k] for k in ("segments_outside", "segments_older", "segments_by_stream", "segments_by_words",
                                  "segments_by_templates", "segments_by_filter", "segments_counted", "segments_kept",
                                  "segments_read"))


def test_what_was_looked_at(server):
    whole, shard = explain(server, "logged")
    assert whole["rows"] == DAYS * PER_DAY == shard["rows_matched"] == shard["rows"]
    assert shard["days"] == DAYS and shard["days_outside"] == 0
    all_segments = segments_of(shard)
    assert shard["segments_read"] == all_segments >= DAYS and shard["segments_other_tenants"] >= DAYS
    assert shard["bytes_read"] > 0 and shard["bytes_unpacked"] > 0 and shard["threads"] >= 1
    assert shard["readers_opened"] + shard["readers_open"] == all_segments
    assert [p["pipe"] for p in whole["pipes"]] == []
    stages = whole["stages_ms"]
    assert abs(sum(stages.values()) - whole["took_ms"]) < 0.1 and all(v >= 0 for v in stages.values())
    assert explain(server, "logged")[1]["readers_open"] == all_segments

    shard = explain(server, "nosuchword")[1]
    assert shard["segments_by_words"] == all_segments and shard["segments_read"] == 0 == shard["rows_scanned"]
    shard = explain(server, '{app="a7"}')[1]
    assert shard["segments_by_stream"] == all_segments and shard["segments_read"] == 0
    shard = explain(server, "user", start="2026-01-02", end="2026-01-02T23:59:59Z")[1]
    assert shard["days"] == 1 and shard["days_outside"] == DAYS - 1 and shard["rows_matched"] == PER_DAY
    whole, shard = explain(server, "*", limit=5)
    assert shard["segments_older"] > 0 and whole["rows"] == 5 and whole["mode"].startswith("the newest 5 rows")


def test_where_pipes_run(server):
    whole, shard = explain(server, "logged | stats by (app) count() n | sort by (n)")
    assert [p["runs"] for p in whole["pipes"]] == ["shards, then router", "router"]
    assert whole["rows"] == 2 and shard["rows_matched"] == DAYS * PER_DAY
    again = explain(server, "logged | stats by (app) count() n | sort by (n)")[1]
    assert again["segments_kept"] == segments_of(again), "the results of segments were not kept"
    whole, _ = explain(server, "logged | fields _msg | len(_msg) n")
    assert [p["runs"] for p in whole["pipes"]] == ["shards", "shards"]
    whole, _ = explain(server, "app:in(user | fields app)")
    assert len(whole["subqueries"]) == 1 and whole["subqueries"][0]["rows"] > 0


def test_every_face(server, seed):
    assert explain(server, "*", "hits", step="1d")[0]["rows"] == DAYS
    assert explain(server, "* | stats count() n", "stats_query")[0]["rows"] == 1
    assert explain(server, "*", "query", cursor="", limit=3)[0]["mode"].startswith("the newest 3 rows of a page")
    status, headers, body = server.get("/select/logsql/query", query="logged", explain="text")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    assert "segments   " in body.decode() and "passed over" in body.decode()
    status, _, body = server.get("/select/logsql/query", query="*", explain="perhaps")
    assert status == 400 and b"explain=perhaps" in body
    assert server.get("/select/logsql/query", query="(", explain="1")[0] == 400
    out = server.cli("search", "--explain", "logged | stats count()")
    assert "shards, in part" in out and "standalone  partitions 0: answered" in out
    stub = stubs.QueryStub(grpc.insecure_channel(server.grpc))
    messages = list(stub.Search(pb.SearchRequest(query="logged", explain=True, no_cache=True), timeout=20))
    told = json.loads(messages[-1].end.explain)
    assert told["rows"] == messages[-1].end.rows == DAYS * PER_DAY

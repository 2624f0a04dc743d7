"""Queries that ask for more than their memory: each is refused with the limit that it met or answers, also ten at
once, and a small query of another tenant answers beside them. (tests/bench/bench_bounds.py: 10 million events.)"""
import json
import threading

import pytest

from standalone import Standalone
from waiting import poll_until

EVENTS = 100_000
# The query, and what it answers (None: it must be refused).
BIG = [("* | sort by (id) | count() n", None),
       ("* | sort by (id) limit 3 | fields n", [{"n": str(n)} for n in range(3)]),
       ("* | uniq by (id) | count() n", None),
       ("* | stats by (id) count() n", None),
       ("* | stats count_uniq(id) n", None),
       ("* | stats values(id) v", None),
       ("* | top 10 by (id)", None),
       ('* | extract "<x> " | uniq by (x)', None),
       ("* | join by (id) (* | fields id) | count() n", None),
       ("id:in(* | fields id) | count() n", None),
       ("* | count() n", [{"n": str(EVENTS)}])]


def insert(server, tenant, count, stream):
    lines = "\n".join(json.dumps({"_time": "2026-01-02T03:04:05.%09dZ" % n, "app": stream, "n": n,
                                  "id": "%020d" % n, "_msg": "%020d is unique" % n}) for n in range(count))
    status, _, text = server.post("/insert/jsonline", lines.encode(), {"X-Scope-OrgID": tenant}, _stream_fields="app")
    assert status == 200, text
    poll_until(lambda: ask(server, tenant, "* | count() n") == (200, [{"n": str(count)}]), 60, "every event is found")


def ask(server, tenant, query):
    """(status, rows or the error's text)"""
    status, _, body = server.post("/select/logsql/query", None, {"X-Scope-OrgID": tenant}, query=query, timeout="50s")
    return status, [json.loads(line) for line in body.splitlines()] if status == 200 else body.decode()


def check(query, answer, status, got):
    if answer is not None:
        assert (status, got) == (200, answer), query
    else:
        assert status == 422 and "memory of " in got and "MiB" in got, f"{query}: {status} {got}"


@pytest.fixture
def server(procs, bin_dir, tmp_path):
    s = Standalone(procs, bin_dir, tmp_path / "data", options=["query.memory_bytes=4MiB"]).start()
    insert(s, "big", EVENTS, "a")
    insert(s, "small", 1000, "b")
    yield s
    if s.process.alive():
        s.stop()


def test_big_queries(server):
    for query, answer in BIG:
        check(query, answer, *ask(server, "big", query))
    answers = [None] * len(BIG)

    def run(i):
        answers[i] = ask(server, "big", BIG[i][0])
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(BIG))]
    for t in threads:
        t.start()
    asked = 0
    while asked == 0 or any(t.is_alive() for t in threads):
        number = asked % 1000
        assert ask(server, "small", f"n:={number} | fields n") == (200, [{"n": str(number)}])
        asked += 1
    for (query, answer), got in zip(BIG, answers):
        check(query, answer, *got)
    assert server.process.alive()
    assert ask(server, "big", "* | count() n") == (200, [{"n": str(EVENTS)}])

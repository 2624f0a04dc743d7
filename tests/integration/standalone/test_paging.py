"""Pages while events come, late ones too, and while the server is killed and starts again."""
import http.client
import json
import random
import subprocess
import threading
import urllib.error

import grpc
import pytest

from ports import free_port
from protos import load
from standalone import Standalone
from waiting import poll_until

pb, stubs = load("schemas/router.proto")

EVENTS = 6000
SECONDS = 40  # so that many events share each time


@pytest.fixture
def server(procs, bin_dir, tmp_path):
    s = Standalone(procs, bin_dir, tmp_path / "data").start()
    yield s
    s.stop()


def event(n, rnd, low=0, high=SECONDS):
    return {"_time": f"2026-01-01T00:00:{rnd.randrange(low, high):02d}Z", "_msg": f"event {n}", "id": str(n), "app": f"a{n % 5}"}


def fill(server, rnd, count=EVENTS):
    for first in range(0, count, 1000):
        assert server.insert([event(n, rnd) for n in range(first, min(first + 1000, count))], _stream_fields="app")
    server.wait_count("*", count)


def page(server, cursor, limit, query="*", **args):
    """(rows, next cursor or None); the last line is the cursor's."""
    status, _, body = server.get("/select/logsql/query", query=query, cursor=cursor, limit=limit, **args)
    assert status == 200, (status, body)
    rows = [json.loads(line) for line in body.splitlines()]
    assert list(rows[-1]) == ["_cursor"], rows[-1]
    return rows[:-1], rows[-1]["_cursor"] or None


def all_pages(server, limit, between=lambda n: None, **args):
    rows, cursor, n = [], "", 0
    while cursor is not None:
        got, cursor = page(server, cursor, limit, **args)
        assert len(got) <= limit and n <= 2 * EVENTS, "pages without end"
        rows += got
        n += 1
        between(n)
    return rows


def check(rows, there):
    """Newest first, nothing twice, and all that was there when paging began."""
    times = [r["_time"] for r in rows]
    assert times == sorted(times, reverse=True)
    ids = [r["id"] for r in rows]
    assert len(ids) == len(set(ids)), "something was shown twice"
    assert there <= set(ids), f"{len(there - set(ids))} were skipped"
    return set(ids)


def test_pages_with_ties(server, seed):
    fill(server, random.Random(seed))
    want = {str(n) for n in range(EVENTS)}
    for limit in (97, 1000, EVENTS, EVENTS + 1):
        assert check(all_pages(server, limit), want) == want
    # The order is that of the newest N without pages, whatever the size of a page.
    newest = [r["id"] for r in server.query("*", limit=500)][::-1]
    assert [r["id"] for r in all_pages(server, 100)][:500] == newest
    # From segments alone too.
    server.stop()
    server.start()
    server.wait_count("*", EVENTS)
    assert [r["id"] for r in all_pages(server, 100)][:500] == newest
    some = check(all_pages(server, 50, query='{app="a3"} | fields _time, id'), set())
    assert some == {str(n) for n in range(3, EVENTS, 5)}


def test_pages_while_events_come(server, seed):
    rnd = random.Random(seed)
    fill(server, rnd)
    stop, sent = threading.Event(), [EVENTS]

    def insert():
        mine = random.Random(seed + 1)
        while not stop.is_set():
            # late ones among those there, and ones that are newer than all
            rows = [event(sent[0] + i, mine, 0, SECONDS + 20) for i in range(50)]
            if server.insert(rows, _stream_fields="app"):
                sent[0] += 50

    thread = threading.Thread(target=insert)
    thread.start()
    try:
        rows = all_pages(server, 137)
    finally:
        stop.set()
        thread.join()
    found = check(rows, {str(n) for n in range(EVENTS)})
    assert found <= {str(n) for n in range(sent[0])}


def test_pages_over_restarts(server, seed):
    rnd = random.Random(seed)
    fill(server, rnd)
    extra = [EVENTS]

    def between(n):
        if n % 8:
            return
        rows = [event(extra[0] + i, rnd) for i in range(20)]
        assert server.insert(rows, _stream_fields="app")
        extra[0] += 20
        server.kill9()
        server.start()

    rows, cursor, n = [], "", 0
    while cursor is not None:
        def ask():
            try:
                status, _, body = server.get("/select/logsql/query", query="*", cursor=cursor, limit=250)
            except (OSError, urllib.error.URLError, http.client.HTTPException):
                return None
            # While the log is read again a page is refused rather than answered with less.
            assert status in (200, 503), (status, body)
            return body if status == 200 else None
        got = [json.loads(line) for line in poll_until(ask, 30, "a page").splitlines()]
        cursor = got.pop()["_cursor"] or None
        rows += got
        n += 1
        assert n <= 2 * EVENTS, "pages without end"
        between(n)
    check(rows, {str(i) for i in range(EVENTS)})
    assert n >= EVENTS // 250


def test_all_on_the_command_line(procs, bin_dir, tmp_path, seed):
    """Every row once, newest first, though the server is killed under it and starts again."""
    rnd = random.Random(seed)
    s = Standalone(procs, bin_dir, tmp_path / "data").start()
    fill(s, rnd)
    want = {str(n) for n in range(EVENTS)}
    assert check([json.loads(line) for line in s.cli("search", "--all", "-o", "json", "*").splitlines()], want) == want
    assert s.cli("search", "--all", "nosuchword", expect=1) == ""
    s.cli("search", "--all", "* | stats count()", expect=2)
    s.cli("search", "--all", "-n", "5", "*", expect=2)
    s.cli("search", "--all", "(", expect=2)
    s.stop()
    address = f"127.0.0.1:{free_port()}"
    s = Standalone(procs, bin_dir, tmp_path / "data", name="again", http=address).start()
    s.wait_count("*", EVENTS)
    # The reader is slow: it takes the first row, and the rest when the server is there again.
    reader = subprocess.Popen([str(s.bin), "search", "--all", "-o", "json", "--url", s.url, "*"], stdout=subprocess.PIPE)
    rows = [json.loads(reader.stdout.readline())]
    s.kill9()
    s.start()
    rows += [json.loads(line) for line in reader.stdout]
    assert reader.wait(60) == 0
    assert check(rows, want) == want
    s.stop()


def test_cursors_are_checked(server, seed):
    fill(server, random.Random(seed), 1000)
    _, cursor = page(server, "", 10)
    for query, cursor_, args, status, text in (
            ("*", cursor[:-1], {}, 400, "cursor: "),
            ("*", "nonsense", {}, 400, "cursor: "),
            ("* ", "x" * 3_000, {}, 400, "cursor: "),
            ("event", cursor, {}, 400, "another query, tenant or time range"),
            ("*", cursor, {"start": "2026-01-01"}, 400, "another query, tenant or time range"),
            ("*", cursor, {"extra_filters": "app:a1"}, 400, "another query, tenant or time range"),
            ("* | sort by (_time)", "", {}, 400, "pages are of events"),
            ("* | stats count()", "", {}, 400, "pages are of events"),
            ("*", "", {"offset": "3"}, 400, "no offset")):
        got = server.get("/select/logsql/query", query=query, cursor=cursor_, limit=10, **args)
        assert got[0] == status and text in got[2].decode(), (query, cursor_, args, got)
    # A relative bound means what it meant on the first page.
    first, cursor = page(server, "", 10, start="2025-12-31", end="now")
    second, _ = page(server, cursor, 10, start="2025-12-31", end="now")
    assert not {r["id"] for r in first} & {r["id"] for r in second}
    # Without a limit a page has a size of its own.
    status, _, body = server.get("/select/logsql/query", query="*", cursor="")
    assert status == 200 and len(body.splitlines()) == 1001


def test_pages_over_grpc(server, seed):
    fill(server, random.Random(seed), 1000)
    stub = stubs.QueryStub(grpc.insecure_channel(server.grpc))
    rows, cursor = [], ""
    while True:
        for message in stub.Search(pb.SearchRequest(query="*", page=True, limit=90, cursor=cursor), timeout=20):
            if message.WhichOneof("kind") == "rows":
                rows += [{f.name: f.value.decode() for f in row.fields} for row in message.rows.rows]
            else:
                cursor = message.end.cursor
        if not cursor:
            break
    assert [r["id"] for r in rows] == [r["id"] for r in all_pages(server, 90)]
    assert len(rows) == 1000
    for bad in (pb.SearchRequest(query="*", cursor="x"), pb.SearchRequest(query="*", page=True, cursor="x"),
                pb.SearchRequest(query="* | stats count()", page=True)):
        with pytest.raises(grpc.RpcError) as e:
            list(stub.Search(bad, timeout=20))
        assert e.value.code() == grpc.StatusCode.INVALID_ARGUMENT

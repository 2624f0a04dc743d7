"""Requests that are no good, as anything on a network may send them: refused with the right status and a
text that says what is wrong and where, while the server goes on."""
import gzip
import json
import random
import re
import socket
import urllib.parse
import zlib

import pytest
import zstandard

from standalone import Standalone


@pytest.fixture(scope="module")
def server(request, bin_dir, tmp_path_factory):
    """One server for all: what a bad request leaves behind would show in the next."""
    from proc import Processes
    folder = tmp_path_factory.mktemp("http")
    with Processes(folder / "logs") as procs:
        s = Standalone(procs, bin_dir, folder / "data").start()
        assert s.insert([{"_msg": f"event {i} of a", "n": str(i), "app": "a"} for i in range(100)], _stream_fields="app")
        s.wait_count("event", 100)
        yield s
        assert s.count("event") == 100
        s.stop()


# ---- queries --------------------------------------------------------------------------------------

# a query, and what stands at the place that the message points at (None: the end)
BAD_QUERIES = [
    ("error AND", None), ("(error", None), ("error)", ")"), ("error (a OR", None),
    ('"open quote', '"open quote'), ("'open", "'open"), ("`open", "`open"), ("{app=", None), ('{app="a"', None),
    ('{app="a" host="b"}', "host"), ('{app~"a"}', "~"), ("field:", None), ("field:(a", None), ("field:>", None),
    ("field:range(1", None), ("field:range(1,2,3]", ","), ("field:range[x", None), ("field:in(a", None),
    ("_time:nonsense", "nonsense"), ("_time:[2026-01-01", None), ("field:~\"(\"", '"("'),
    ("field:len_range(a,b)", "("), ("a | ", None), ("a | stats by (x count()", "count"),
    ("a | stats nosuch(x)", "nosuch"), ("a | sort by", None), ("a | limit x", "x"), ("a | limit -1", None),
    ("a | fields", None), ("a | extract", None), ("a | extract \"no placeholders\"", None), ("a | stats", None),
    ("a | filter", None), ("a || b", "|"), ("a | math 1 +", None), ("a | format", None), ("a | where a >", None),
    ("* | uniq by (", None), ("a | sample 0", None), ("NOT", None), ("!", None),
    ("f:ipv4_range(\"300.1.1.1\")", None),
]


@pytest.mark.parametrize("query, at", BAD_QUERIES, ids=lambda v: None if v is None else repr(v)[:40])
def test_bad_queries(server, query, at):
    status, headers, body = server.get("/select/logsql/query", query=query)
    text = body.decode("utf-8")
    assert status == 400, (status, text[:200])
    assert headers["Content-Type"].startswith("text/plain")
    place = re.search(r"line (\d+), column (\d+): (\S.*)", text)
    assert place and place.group(1) == "1", text
    column = int(place.group(2))
    assert 1 <= column <= len(query) + 1, text
    lines = text.split("\n")
    if len(lines) > 2:  # the query with a mark below the place
        assert query in lines[1] and lines[2].index("^") == lines[1].index(query) + column - 1, text
    if at is not None:
        found = [m.start() + 1 for m in re.finditer(re.escape(at), query)]
        assert column in found, (column, found, text)


def test_places_in_long_queries(server):
    """The second line, behind wide characters, behind 100 kB."""
    status, _, body = server.get("/select/logsql/query", query="error and\n  (ok or)")
    assert status == 400 and b"line 2, column 9" in body, body
    status, _, body = server.get("/select/logsql/query", query="smörgås )")
    assert status == 400 and b"line 1, column" in body, body
    body.decode("utf-8")
    long = " or ".join(f"word{i}" for i in range(5000)) + " )"
    status, _, body = server.post("/select/logsql/query", urllib.parse.urlencode({"query": long}).encode(),
                                  {"Content-Type": "application/x-www-form-urlencoded"})
    assert status == 400 and f"column {len(long)}".encode() in body and len(body) < 2000, body[:300]
    status, _, body = server.get("/select/logsql/query", query="a \x1b[31m ) \x00 \u202e")
    assert status == 400 and b"\x1b" not in body and b"\x00" not in body


def test_queries_that_go_deep(server):
    """Nesting, and what explodes: a clear error or an answer, in bounded time."""
    for query in ("(" * 50000, "(" * 50000 + "a" + ")" * 50000, "!" * 50000 + "a", "a" + " | filter a" * 3000,
                  "f:in(* | fields f | filter f:in(" * 200, "a:" * 20000, "-" * 60000, "not " * 30000,
                  "f:~\"" + "(" * 5000 + "\"", "f:~\"(a{1,1000}){1,1000}\"", "* | stats " + ", ".join(
                      f"count() c{i}" for i in range(5000))):
        form = urllib.parse.urlencode({"query": query, "timeout": "5s"}).encode()
        status, _, body = server.post("/select/logsql/query", form, {"Content-Type": "application/x-www-form-urlencoded"})
        assert status in (200, 400, 422, 504), (query[:30], status, body[:200])
        assert len(body) < 100000


def test_random_queries(server, seed):
    """Pieces of queries at random: an answer or a 400, never anything else."""
    rnd = random.Random(seed)
    pieces = ["a", "\"b c\"", "AND", "or", "not", "(", ")", "{", "}", "[", "]", "|", "stats", "by", "count()", "_time:", "5m",
              "f:", "=", "~", "\"", "'", "`", "*", ",", "<", ">", "!", "sort", "limit", "3", "fields", "-", "in", "range", ":",
              "\\", "\x00", "\xff", "é", "\n", "#", "uniq", "extract", "\"<x>\"", "math", "+", "/", "0", "_msg", "as"]
    for _ in range(1500):
        query = "".join(rnd.choice(pieces) + rnd.choice(["", " ", " "]) for _ in range(rnd.randrange(1, 14)))
        status, _, body = server.get("/select/logsql/query", query=query, limit="3")
        assert status in (200, 400), (query, status, body[:300])
        if status == 400:
            assert b"column" in body or b"query" in body, (query, body)
        else:
            assert all(isinstance(json.loads(x), dict) for x in body.decode().split("\n") if x), query


# ---- arguments ------------------------------------------------------------------------------------

@pytest.mark.parametrize("path, args, says", [
    ("query", {"limit": "abc"}, "limit"), ("query", {"limit": "1e99"}, "limit"),
    ("query", {"limit": "99999999999999999999999"}, "limit"), ("query", {"offset": "x"}, "offset"),
    ("query", {"start": "yesterday-ish"}, "start"), ("query", {"end": "2026-13-45"}, "end"),
    ("query", {"start": "9" * 400}, "start"), ("query", {"start": "2026-01-01T00:00:00\x00"}, "start"),
    ("hits", {"step": "soon"}, "step"), ("hits", {"step": "-1h"}, "step"), ("hits", {"step": "0s"}, "step"),
    ("hits", {"start": "x", "step": "1h"}, "start"),
    ("field_values", {}, "field"), ("field_values", {"field": "n", "limit": "many"}, "limit"),
    ("stream_field_values", {}, "field"), ("facets", {"limit": "x"}, "limit"),
    ("stats_query", {}, "stats"), ("stats_query_range", {"step": "1h"}, "stats"),
])
def test_bad_arguments(server, path, args, says):
    status, _, body = server.get("/select/logsql/" + path, query="*", **args)
    # as the Prometheus API has it, where that is spoken
    assert status == (422 if path.startswith("stats_query") else 400), (status, body[:300])
    assert says in body.decode() and len(body) < 2000, body[:300]


@pytest.mark.parametrize("path", ["query", "hits", "facets", "stats_query", "stats_query_range", "streams", "stream_ids",
                                  "stream_field_names", "stream_field_values", "field_names", "field_values", "tail"])
def test_a_query_must_be_given(server, path):
    for args in ({}, {"query": ""}, {"query": "("}):
        status, _, body = server.get("/select/logsql/" + path, **args)
        assert status == (422 if path.startswith("stats_query") else 400) and body, (path, args, status)


@pytest.mark.parametrize("headers, status", [
    ({"X-Scope-OrgID": "a b"}, 400), ({"X-Scope-OrgID": "../../etc"}, 400), ({"X-Scope-OrgID": "x" * 65}, 400),
    ({"X-Scope-OrgID": "a/b"}, 400), ({"X-Scope-OrgID": "a\tb"}, 400),
    ({"AccountID": "x"}, 400), ({"AccountID": "-1"}, 400), ({"AccountID": "99999999999999"}, 400),
    ({"ProjectID": "x"}, 400), ({"X-Scope-OrgID": "x" * 64}, 200), ({"AccountID": "1", "ProjectID": "2"}, 200),
    ({"X-Scope-OrgID": "A-z_0.9"}, 200),
])
def test_tenants(server, headers, status):
    got, _, body = server.post("/insert/jsonline", b'{"_msg":"of a tenant"}\n', headers)
    assert got == status, (got, body)
    form = urllib.parse.urlencode({"query": "*"}).encode()
    got, _, body = server.post("/select/logsql/query", form, {**headers, "Content-Type": "application/x-www-form-urlencoded"})
    assert got == status, (got, body)


# ---- HTTP -----------------------------------------------------------------------------------------

def talk(server, data, close=False):
    """What the server says to these bytes until it closes or has answered once."""
    host, port = server.http.split(":")
    out = b""
    with socket.create_connection((host, int(port)), 20) as s:
        s.settimeout(20)
        try:
            s.sendall(data)
            if close:
                s.shutdown(socket.SHUT_WR)
            while b"\r\n\r\n" not in out:
                more = s.recv(65536)
                if not more:
                    break
                out += more
        except OSError:
            pass
    return out


@pytest.mark.parametrize("method, path, allowed", [
    ("PUT", "/select/logsql/query", {"GET", "POST"}), ("DELETE", "/select/logsql/query", {"GET", "POST"}),
    ("GET", "/insert/jsonline", {"POST", "PUT"}), ("POST", "/metrics", {"GET"}), ("NONSENSE", "/healthz", {"GET"}),
])
def test_wrong_methods(server, method, path, allowed):
    head = talk(server, f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()).decode()
    assert head.startswith("HTTP/1.1 405 "), head
    allow = re.search(r"(?im)^Allow: (.*)\r$", head).group(1)
    assert {m.strip() for m in allow.split(",")} >= allowed, allow


@pytest.mark.parametrize("data", [
    b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
    b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 200000 + b"\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20000 + b"\r\n",
    b"GET /" + b"x" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /insert/jsonline HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /insert/jsonline HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /insert/jsonline HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    b"POST /insert/jsonline HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc\r\n",
    b"POST /insert/jsonline HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"_msg\":\"event cut\"}\n",
    b"POST /insert/jsonline HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{\"_msg\":\"event cut\"}\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(range(256)) * 50,
], ids=range(15))
def test_what_is_no_http(server, data):
    """Refused or hung up on; nothing of it is taken, and the next one is served."""
    answer = talk(server, data, close=True)
    assert not answer or not answer.startswith(b"HTTP/1.1 200") or b"GET" in data[:3], answer[:200]
    assert server.get("/healthz")[0] == 200
    assert server.query('"event cut"') == []


def test_large_arguments(server):
    status, _, _ = server.get("/select/logsql/query", query="a" * 20000)
    assert status in (200, 400, 413, 414, 431)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"query=" + b"a" * (40 << 20), b"&".join(b"a%d=b" % i for i in range(300000)) + b"&query=*",
                 b"query=%ZZ%", b"query=" + b"%00" * 1000, b"=" * 100000, b"&" * 100000, b"query" + b"\xff" * 1000):
        try:
            status, _, text = server.post("/select/logsql/query", body, form)
        except OSError:
            continue  # hung up on while it sent
        assert status in (200, 400, 413), (status, body[:30], text[:200])
    assert server.get("/healthz")[0] == 200


BOMB = 160 << 20


def zip_bomb(byte):
    return gzip.compress(byte * BOMB, 6)


@pytest.mark.parametrize("encoding, body, status", [
    ("gzip", b"not gzip at all", 400), ("gzip", gzip.compress(b'{"_msg":"cut"}\n' * 1000)[:-20], 400), ("gzip", b"", (200, 400)),
    ("gzip", gzip.compress(b'{"_msg":"crc"}\n')[:-8] + b"\0" * 8, 400),
    ("gzip", gzip.compress(b"{}\n") + b"trailing rubbish", 400),
    ("zstd", b"not zstd", 400), ("zstd", zstandard.compress(b'{"_msg":"cut"}\n' * 1000)[:-5], 400), ("zstd", b"", (200, 400)),
    ("deflate", zlib.compress(b'{"_msg":"x"}\n')[:-2], (400, 415)), ("br", b"\x0b\x02\x80abc\x03", (400, 415)),
    ("gzip, gzip", gzip.compress(gzip.compress(b"{}")), (400, 415)), ("nonsense", b"{}", (400, 415)),
], ids=range(12))
def test_bad_bodies(server, encoding, body, status):
    got, _, text = server.post("/insert/jsonline", body, {"Content-Encoding": encoding})
    assert got == status or (isinstance(status, tuple) and got in status), (got, text[:200])
    assert text, "no reason is given"
    assert server.query('cut or crc') == []


def test_bombs(server, build_dir):
    """160 MiB in a small body. Blank lines cost nothing but time; a line that never ends is refused."""
    before = server.process.rss_bytes()
    for encoding, body, statuses in (("gzip", zip_bomb(b"\n"), (200, 413)), ("gzip", zip_bomb(b" "), (400, 413)),
                                     ("zstd", zstandard.compress(b"\n" * BOMB), (200, 413)),
                                     ("zstd", zstandard.compress(b"x" * BOMB), (400, 413)),
                                     ("gzip", gzip.compress(zip_bomb(b"\n")), (400, 413))):
        status, _, text = server.post("/insert/jsonline", body, {"Content-Encoding": encoding})
        assert status in statuses, (encoding, status, text[:200])
        assert status != 200 or json.loads(text)["accepted"] == 0
    sanitized = "TEL_SANITIZE:STRING=\n" not in (build_dir / "CMakeCache.txt").read_text()
    if not sanitized:  # a sanitizer keeps what is freed
        assert server.process.rss_bytes(peak=True) < before + (128 << 20)
    assert server.get("/healthz")[0] == 200


# ---- lines ----------------------------------------------------------------------------------------

def test_bad_lines_among_good_ones(server):
    bad = [b"rubbish", b"{", b'{"_msg":"x"', b"[]", b"[1]", b'"text"', b"1", b"null", b'{"a":}', b"{'a':'b'}", b'{"a":1,}',
           b'{"_msg":"\\ud8"}', b'{"a":"\\q"}', b"{" * 2000, b'{"a":' + b"[" * 100000, b"\xff\xfe\x00", b'{"a":"tab\there"}', b'{"a":tru}',
           b'{"a":01}', b'{} {}', b'\xef\xbb\xbf']
    lines, good = [], 0
    for i, line in enumerate(bad):
        lines += [b'{"_msg":"between %d","mark":"good"}' % i, line]
        good += 1
    body = b"\n".join(lines) + b'\n{"_msg":"last one, no end","mark":"good"}'
    good += 1
    status, _, text = server.post("/insert/jsonline", body)
    answer = json.loads(text)
    server.wait_count("mark:good", good)
    assert server.count("mark:good") == good
    assert status == 200 and answer["accepted"] + answer["rejected"] >= good, answer
    assert answer["accepted"] >= good and answer["rejected"] >= len(bad) - 5, answer
    told = {e["line"] for e in answer["errors"]}
    assert told and all(e["error"] for e in answer["errors"])
    assert not told & {2 * i + 1 for i in range(len(bad))}, "a good line is complained of"


def test_all_lines_bad(server):
    status, _, text = server.post("/insert/jsonline", b"rubbish\nmore of it\n")
    assert status == 400 and json.loads(text)["rejected"] == 2, (status, text)
    for body in (b"", b"\n\n\n", b"   \r\n"):
        status, _, text = server.post("/insert/jsonline", body)
        assert status in (200, 204), (body, status, text)


def test_odd_fields(server):
    """Names and values at the edges are kept, or refused with a reason; neighbours are."""
    rows = [{"_msg": "odd", "": "empty name"}, {"_msg": "odd", "x" * 100000: "long name"}, {"_msg": "odd", "a": "y" * (1 << 20)},
            {"_msg": "odd", **{f"f{i}": i for i in range(3000)}}, {"_msg": "odd", "_time": "never"}, {"_msg": ""},
            {"_msg": "odd", "_time": -1}, {"_msg": "odd", "_time": 1e300}, {"_msg": "odd", "_stream": "{x=\"y\"}"},
            {"_msg": "odd", "n\0ul": "\0"}, {"_msg": "odd", "a": {"b": {"c": [1, {"d": None}]}}}, {"_msg": {"nested": "message"}},
            {"_msg": "odd", "dup": 1, "a.b": 2, "a": {"b": 3}}, {"_msg": "odd 1", "_time": "9999-12-31T23:59:59Z"}]
    body = "\n".join(json.dumps(r) for r in rows) + '\n{"_msg":"odd neighbour"}\n'
    status, _, text = server.post("/insert/jsonline", body.encode())
    answer = json.loads(text)
    assert status == 200 and answer["accepted"] + answer["rejected"] == len(rows) + 1, answer
    server.wait_count('"odd neighbour"', 1)
    form = urllib.parse.urlencode({"query": "odd", "limit": "100"}).encode()
    status, _, body = server.post("/select/logsql/query", form, {"Content-Type": "application/x-www-form-urlencoded"})
    assert status == 200 and all(isinstance(json.loads(x), dict) for x in body.split(b"\n") if x)

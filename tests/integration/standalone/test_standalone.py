"""Standalone as people and scripts see it: insert, search, the command line, refusals, tenants."""
import gzip
import json
import socket
import subprocess
import time

import pytest

from standalone import Standalone
from waiting import poll_until


@pytest.fixture
def server(procs, bin_dir, tmp_path):
    s = Standalone(procs, bin_dir, tmp_path / "data").start()
    yield s
    if s.process.alive():
        s.stop()


def rows(n, **fields):
    return [{"_time": f"2026-01-02T03:04:{i % 60:02d}.{i:09d}Z", "_msg": f"event number {i}", **fields} for i in range(n)]


def test_insert_and_query(server):
    assert server.insert(rows(100, app="shop", level="info"), _stream_fields="app")
    server.wait_count("*", 100, seconds=2)  # searchable within a second
    got = server.query('{app="shop"} number 42')
    assert len(got) == 1
    assert got[0]["_msg"] == "event number 42" and got[0]["level"] == "info" and got[0]["app"] == "shop"
    assert got[0]["_time"] == "2026-01-02T03:04:42.000000042Z" and got[0]["_stream"] == '{app="shop"}'
    assert server.query("nothing-like-this") == []
    status, _, text = server.get("/select/logsql/query", query="stats by (")
    assert status == 400 and b"column" in text


def test_command_line(server, tmp_path):
    assert server.insert(rows(10, app="a") + [{"_time": "2026-01-02T04:00:00Z", "_msg": "the \x1b[31mlast\n one"}])
    server.wait_count("*", 11)
    assert server.cli("search", "number", "-o", "raw").splitlines() == [f"event number {i}" for i in range(10)]
    assert server.cli("search", "-n", "2", "-o", "raw", "number").splitlines() == ["event number 8", "event number 9"]
    text = server.cli("search", "one")
    assert "\x1b" not in text and "\\x1b[31mlast\\x0a one" in text and len(text.splitlines()) == 1
    assert "\x1b[" in server.cli("search", "--color", "always", "number")
    assert json.loads(server.cli("search", "-o", "json", "* | stats count() n")) == {"n": "11"}
    assert server.cli("search", "-s", "2026-01-02T03:30:00Z", "-o", "raw", "number", expect=1) == ""
    assert server.cli("search", "-s", "1m", "number", expect=1) == ""
    server.cli("search", "number |", expect=2)
    server.cli("search", "--url", "http://127.0.0.1:1", "number", expect=2)
    server.cli("search", "--nonsense", "number", expect=2)
    server.cli("search", expect=2)
    assert "11 events" in server.cli("status")
    server.cli("status", "--url", "http://127.0.0.1:1", expect=2)
    # who reads only the head gets no complaint
    done = subprocess.run(f"'{server.bin}' search --url {server.url} '*' | head -1", shell=True, capture_output=True, check=False)
    assert done.returncode == 0 and done.stderr == b""


def test_import_resumes(server, tmp_path):
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    log = tmp_path / "x.jsonl"
    log.write_text("".join(json.dumps(r) + "\n" for r in rows(1000, app="i")))
    server.cli("import", "--stream-fields", "app", str(log), env=env)
    with open(log, "a", encoding="utf-8") as f:
        f.write('{"_msg":"later","app":"i"}\nnot json\n')
    server.cli("import", "--stream-fields", "app", str(log), env=env)
    server.cli("import", "--stream-fields", "app", str(log), env=env)
    server.wait_count("*", 1001)
    assert server.count() == 1001
    letters = (server.folder / "insert/dead-letters.jsonl").read_text().splitlines()
    assert [json.loads(x)["line"] for x in letters] == ["not json"]
    plain = tmp_path / "plain.log"
    plain.write_text("2026-02-03T04:05:06Z first\nsecond, no time\n")
    server.cli("import", str(plain), env=env)
    server.cli("import", "-", stdin=b"from stdin\n", env=env)
    server.wait_count("*", 1004)
    got = server.query(f'{{file="{plain}"}} first')
    assert got[0]["_time"] == "2026-02-03T04:05:06Z"
    server.cli("import", str(tmp_path / "none"), expect=2, env=env)


def test_import_knows_a_new_server_at_an_old_address(procs, bin_dir, tmp_path):
    """What was imported is remembered of the server, not of its address."""
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    log = tmp_path / "x.jsonl"
    log.write_text("".join(json.dumps(r) + "\n" for r in rows(100, app="i")))
    first = Standalone(procs, bin_dir, tmp_path / "one", name="one").start()
    first.cli("import", str(log), env=env)
    first.wait_count("*", 100)
    address = first.http
    first.stop()
    second = Standalone(procs, bin_dir, tmp_path / "two", options=[], name="two", http=address).start()
    second.cli("import", str(log), env=env)
    second.wait_count("*", 100)
    second.cli("import", str(log), env=env)
    assert second.count() == 100
    second.stop()


def test_tail(procs, bin_dir, tmp_path):
    (tmp_path / "app").mkdir()
    log = tmp_path / "app/app.log"
    log.write_text("one line\n")
    s = Standalone(procs, bin_dir, tmp_path / "data", tail=[str(tmp_path / "app/*.log")]).start()
    s.wait_count("line", 1)
    with open(log, "a", encoding="utf-8") as f:
        f.write("two line\nthree li")
        f.flush()
        s.wait_count("line", 2)
        f.write("ne\n")
    s.wait_count("line", 3)
    log.rename(tmp_path / "app/app.log.1")
    log.write_text("four line\n")
    s.wait_count("line", 4)
    s.stop()
    s.start()
    assert s.count("line") == 4
    s.stop()


def test_live_tail(server):
    with subprocess.Popen([str(server.bin), "tail", "--url", server.url, "-o", "raw", "needle"],
                          stdout=subprocess.PIPE) as follower:
        try:
            def seen():
                server.insert([{"_msg": "a needle"}, {"_msg": "hay"}])
                return follower.poll() is None and _readable(follower.stdout)
            poll_until(seen, 20, "a row from telescope tail", interval=0.3)
            assert follower.stdout.readline() == b"a needle\n"
            began = time.monotonic()
            server.stop()  # a follower does not hold it up, and is told the end
            assert time.monotonic() - began < 8
            assert follower.wait(10) == 0
        finally:
            if follower.poll() is None:
                follower.terminate()


def _readable(stream):
    import select
    return select.select([stream], [], [], 0)[0]


def test_patterns(server):
    events = [{"_msg": f"connection from 10.0.0.{i} port {i * 7} closed"} for i in range(30)]
    assert server.insert(events + [{"_msg": "out of memory"}])
    server.wait_count("*", 31)
    lines = server.cli("patterns", "*").splitlines()
    assert lines[0].split(None, 1)[0] == "30" and "connection from" in lines[0] and "10.0.0." not in lines[0]
    assert lines[1].split(None, 1) == ["1", "out of memory"]
    server.cli("patterns", "nothing-like-this", expect=1)


def test_tenants(server):
    assert server.insert([{"_msg": "of a"}], headers={"X-Scope-OrgID": "a"})
    assert server.insert([{"_msg": "of nobody"}])
    poll_until(lambda: server.query("*", headers={"X-Scope-OrgID": "a"}), 5, "the event of a")
    assert [r["_msg"] for r in server.query("*", headers={"X-Scope-OrgID": "a"})] == ["of a"]
    server.wait_count("*", 1)
    assert [r["_msg"] for r in server.query("*")] == ["of nobody"]
    assert server.cli("search", "--tenant", "a", "-o", "raw", "*") == "of a\n"


def test_bodies(server):
    packed = gzip.compress(b'{"_msg":"packed"}\n')
    assert server.post("/insert/jsonline", packed, {"Content-Encoding": "gzip"})[0] == 200
    assert server.post("/insert/jsonline", packed[:-6], {"Content-Encoding": "gzip"})[0] == 400
    bomb = gzip.compress(b" " * (100 << 20))
    assert server.post("/insert/jsonline", bomb, {"Content-Encoding": "gzip"})[0] == 413
    host, port = server.http.split(":")
    with socket.create_connection((host, int(port))) as s:  # a body cut short is not taken
        s.sendall(b'POST /insert/jsonline HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"_msg":"cut"}\n')
    status, _, text = server.post("/insert/jsonline", b'{"_msg":"whole"}\nrubbish\n{"_msg":"too"}')
    answer = json.loads(text)
    assert status == 200 and answer["accepted"] == 2 and answer["rejected"] == 1 and answer["errors"][0]["line"] == 2
    server.wait_count("*", 3)
    assert sorted(r["_msg"] for r in server.query("*")) == ["packed", "too", "whole"]


def test_admin(server):
    assert server.get("/healthz")[0] == 200
    poll_until(lambda: server.get("/readyz")[0] == 200, 10, "/readyz")
    text = server.get("/metrics")[2].decode()
    assert "telescope_" in text and "process_" in text
    assert server.get("/no/such/place")[0] == 404


def run(bin_dir, *args):
    return subprocess.run([str(bin_dir / "telescope"), *map(str, args)], capture_output=True, text=True, timeout=30,
                          check=False)


def test_refusals(server, bin_dir, tmp_path):
    free = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    done = run(bin_dir, "standalone", "--data", server.folder, *free)
    assert done.returncode == 1 and "another telescope runs on" in done.stderr
    done = run(bin_dir, "standalone", "--data", tmp_path / "other", "--http", server.http, "--grpc", "127.0.0.1:0")
    assert done.returncode == 1 and "in use" in done.stderr and server.http in done.stderr
    (tmp_path / "file").write_text("in the way")
    done = run(bin_dir, "standalone", "--data", tmp_path / "file", *free)
    assert done.returncode == 1 and str(tmp_path / "file") in done.stderr
    done = run(bin_dir, "standalone", "--check", "-o", "http.adress=x", "-o", "queue.bytes=lots")
    assert done.returncode == 2 and "http.adress" in done.stderr and "queue.bytes" in done.stderr
    done = run(bin_dir, "standalone", "--check", "-o", "http.cert_file=x")
    assert done.returncode == 2 and "http.cert_file" in done.stderr
    done = run(bin_dir, "standalone", "--config", tmp_path / "missing.conf")
    assert done.returncode == 2 and "missing.conf" in done.stderr
    assert run(bin_dir, "nonsense").returncode == 2
    assert run(bin_dir, "--version").stdout.startswith("telescope ")
    for command in ("standalone", "search", "tail", "patterns", "import", "status"):
        done = run(bin_dir, command, "--help")
        assert done.returncode == 0 and "usage" in done.stdout.lower(), command


def test_stop_is_quick_and_loses_nothing(procs, bin_dir, tmp_path):
    s = Standalone(procs, bin_dir, tmp_path / "data").start()
    assert s.insert(rows(5000))
    began = time.monotonic()
    s.stop()
    assert time.monotonic() - began < 10
    s.start()
    assert s.count() == 5000
    s.stop()


def test_grpc(server):
    """The typed service beside HTTP, by a client that is not ours: health, and a search as raw messages."""
    import grpc
    assert server.insert([{"_msg": "over grpc"}])
    server.wait_count("*", 1)
    with grpc.insecure_channel(server.grpc) as channel:
        health = channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)
        assert health == b"\x08\x01"  # SERVING
        search = channel.unary_stream("/telescope.router.v1.Query/Search")
        answer = list(search(b"\x12\x04over", timeout=10))  # query = 2
        assert b"over grpc" in answer[0] and len(answer) >= 2  # rows, then the end
        with pytest.raises(grpc.RpcError) as e:
            list(search(b"\x12\x06over |", timeout=10))
        assert e.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_many_clients_at_once(server):
    """A thousand small inserts, a hundred at a time, and queries between: each is answered."""
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        inserts = [pool.submit(server.insert, [{"_msg": f"small {i}"}]) for i in range(1000)]
        queries = [pool.submit(server.count) for _ in range(50)]
        assert all(f.result() for f in inserts)
        assert all(0 <= f.result() <= 1000 for f in queries)
    server.wait_count("*", 1000)
    assert server.count() == 1000


def test_exit_codes_of_odd_answers(bin_dir):
    """A partial answer is 3; one that ends in an error, breaks off, or is none, is 2. The server is a
    script, for it has to misbehave."""
    import http.server
    import threading

    class Odd(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            query = self.rfile.read(int(self.headers["Content-Length"])).decode()
            row = b'{"_time":"2026-01-01T00:00:00Z","_msg":"a row"}\n'
            body = b"<html>\n" if "html" in query else row
            self.send_response(503 if "busy" in query else 200)
            if "partial" in query:
                self.send_header("X-Telescope-Partial", "partition 3: no replica answered")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
            if "erring" in query:
                line = b'{"_error":"a shard went away"}\n'
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            if "erring" in query or "broken" in query:
                self.close_connection = True
                return
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd) as odd:
        thread = threading.Thread(target=odd.serve_forever, daemon=True)
        thread.start()

        def search(query):
            done = run(bin_dir, "search", "--url", f"http://127.0.0.1:{odd.server_address[1]}", "-o", "raw", query)
            return done.returncode, done.stdout, done.stderr

        try:
            assert search("fine") == (0, "a row\n", "")
            code, out, err = search("partial")
            assert (code, out) == (3, "a row\n") and "partition 3: no replica answered" in err
            code, out, err = search("erring")
            assert (code, out) == (2, "a row\n") and "a shard went away" in err
            code, out, err = search("broken")
            assert (code, out) == (2, "a row\n") and "broke off" in err
            code, out, err = search("busy")
            assert (code, out) == (2, "") and "503" in err
            assert search("html")[0] == 2
        finally:
            odd.shutdown()
            thread.join()

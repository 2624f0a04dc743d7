"""Users: tokens, the tenants that each may read and write, over HTTP and gRPC, and a list that is read again."""
import base64
import json
import signal

import grpc
import pytest

from protos import load
from standalone import Standalone
from waiting import poll_until

pb, stubs = load("schemas/router.proto")

USERS = """
users = (
  { name = "writer"; token = "${file:%s/writer}"; write = [ "acme", "7:8" ]; },
  { name = "reader"; token = "token-of-reader"; read = [ "acme" ]; },
  { name = "numbers"; token = "token-of-numbers"; read = [ "5:0" ]; },
  { name = "boss"; token = "token-of-boss"; read = [ "*" ]; write = [ "*" ]; }
);
"""


@pytest.fixture
def server(procs, bin_dir, tmp_path):
    (tmp_path / "writer").write_text("token-of-writer\n")
    (tmp_path / "telescope.conf").write_text(USERS % tmp_path)
    s = Standalone(procs, bin_dir, tmp_path / "data")
    s.process.argv += ["--config", str(tmp_path / "telescope.conf")]
    s.start()
    s.files = tmp_path
    yield s
    if s.process.alive():
        s.stop()


def bearer(token, tenant=None, **headers):
    out = {"Authorization": "Bearer " + token, **headers}
    return {**out, "X-Scope-OrgID": tenant} if tenant else out


def insert(server, headers):
    body = json.dumps({"_msg": "hello there", "app": "a"}).encode() + b"\n"
    return server.post("/insert/jsonline", body, headers)[0]


def query(server, headers, path="query", **args):
    return server.post("/select/logsql/" + path, b"", headers, query="hello", **args)


def test_http(server):
    assert insert(server, {}) == 401
    assert insert(server, {"X-Scope-OrgID": "acme"}) == 401
    for wrong in ("token-of-write", "token-of-writerr", "Token-of-writer", "", "x" * 9000):
        assert insert(server, bearer(wrong, "acme")) in (401, 431), wrong
    assert insert(server, bearer("token-of-writer", "acme")) == 200
    assert insert(server, bearer("token-of-writer", AccountID="7", ProjectID="8")) == 200
    assert insert(server, bearer("token-of-writer")) == 403
    assert insert(server, bearer("token-of-reader", "acme")) == 403
    assert insert(server, bearer("token-of-boss", "other")) == 200
    reader = bearer("token-of-reader", "acme")
    poll_until(lambda: b"hello" in query(server, reader)[2], 20, "the event")
    status, headers, _ = query(server, {})
    assert status == 401 and "Basic" in headers["WWW-Authenticate"]
    for path in ("query", "hits", "stats_query", "streams", "field_names", "tail", "facets"):
        assert query(server, {"X-Scope-OrgID": "acme"}, path)[0] == 401, path
        status, _, text = query(server, bearer("token-of-reader", "other"), path)
        assert status == 403 and b"other" in text, path
    # an empty number is 0, to whoever judges as to whoever answers
    assert query(server, bearer("token-of-numbers", AccountID="5", ProjectID=""))[0] == 200
    assert query(server, bearer("token-of-numbers", AccountID="6", ProjectID=""))[0] == 403
    assert query(server, bearer("token-of-writer", "acme"))[0] == 403
    assert query(server, bearer("token-of-boss", "acme"))[0] == 200
    basic = lambda text: {"Authorization": "Basic " + base64.b64encode(text.encode()).decode(), "X-Scope-OrgID": "acme"}
    assert query(server, basic("reader:token-of-reader"))[0] == 200
    for wrong in ("boss:token-of-reader", "reader:", "reader", ":token-of-reader", ""):
        assert query(server, basic(wrong))[0] == 401, wrong
    assert query(server, {"Authorization": "Basic %%%", "X-Scope-OrgID": "acme"})[0] == 401
    assert [server.get(p)[0] for p in ("/healthz", "/readyz", "/metrics")] == [200] * 3
    assert server.get("/")[0] == 401 and server.get("/select/status")[0] == 401
    assert "token-of" not in server.process.log(whole=True)


def test_grpc(server):
    assert insert(server, bearer("token-of-boss", "acme")) == 200
    with grpc.insecure_channel(server.grpc) as channel:
        stub = stubs.QueryStub(channel)

        def code(token, tenant):
            metadata = [("authorization", "Bearer " + token)] if token else []
            try:
                list(stub.Search(pb.SearchRequest(tenant=tenant, query="*"), timeout=20, metadata=metadata))
            except grpc.RpcError as e:
                return e.code()
            return grpc.StatusCode.OK
        assert code(None, "acme") == grpc.StatusCode.UNAUTHENTICATED
        assert code("guess", "acme") == grpc.StatusCode.UNAUTHENTICATED
        assert code("token-of-reader", "acme") == grpc.StatusCode.OK
        assert code("token-of-reader", "") == grpc.StatusCode.PERMISSION_DENIED
        assert code("token-of-writer", "acme") == grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.RpcError) as e:
            stub.Status(pb.StatusRequest(), timeout=20)
        assert e.value.code() == grpc.StatusCode.UNAUTHENTICATED
        stub.Status(pb.StatusRequest(), timeout=20, metadata=[("authorization", "Bearer token-of-reader")])


def test_read_again(server):
    assert insert(server, bearer("token-of-writer", "acme")) == 200
    (server.files / "writer").write_text("another-of-writer\n")
    config = (server.files / "telescope.conf").read_text().replace('[ "acme" ]', '[ "acme", "other" ]')
    (server.files / "telescope.conf").write_text(config)
    assert query(server, bearer("token-of-reader", "other"))[0] == 403
    server.process.signal(signal.SIGHUP)
    poll_until(lambda: insert(server, bearer("another-of-writer", "acme")) == 200, 20, "the new token")
    assert insert(server, bearer("token-of-writer", "acme")) == 401
    assert query(server, bearer("token-of-reader", "other"))[0] == 200


def test_mistakes(bin_dir, tmp_path, procs):
    (tmp_path / "bad.conf").write_text("""users = (
      { name = "a b"; token = "12345678"; },
      { name = "x"; token = "12345678"; read = [ "t/t" ]; },
      { name = "x"; token = "123"; } );""")
    p = procs.start("check", [bin_dir / "telescope", "standalone", "--config", tmp_path / "bad.conf", "--check"])
    assert p.wait_exit(30) == 2
    log = p.log(whole=True)
    for text in ("letters, digits", "another user's", "a tenant is", "an entry before", "token"):
        assert text in log, log
    assert "12345678" not in log

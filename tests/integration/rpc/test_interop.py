"""The RPC layer against grpcio, which shares no code of ours: its client with our server, and our
client with its server; mutual TLS; health, reflection."""
import re
import subprocess
import time
from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from certs import make_certificates
from protos import load

pb, stubs = load("tests/unit/rpc/echo.proto")


@pytest.fixture
def peer(build_dir):
    return build_dir / "tests" / "rpc_peer"


def serve(procs, peer, *tls):
    p = procs.make("peer", [peer, "serve", *tls]).start()
    return "127.0.0.1:" + p.wait_line(r"^ready (\d+)$", 10).group(1), p


@pytest.fixture
def ours(procs, peer):
    address, _ = serve(procs, peer)
    with grpc.insecure_channel(address) as channel:
        yield stubs.EchoStub(channel)


def test_unary(ours):
    answer = ours.Once(pb.EchoRequest(text="grüße", size=100000), timeout=10,
                       metadata=[("authorization", "Bearer sesame")])
    assert (answer.text, len(answer.padding), answer.bearer) == ("grüße", 100000, "sesame")
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        with pytest.raises(grpc.RpcError) as e:
            ours.Once(pb.EchoRequest(text="why", fail=code.value[0]), timeout=10)
        assert e.value.code() == code and e.value.details() == "failed: why"


def test_stream(ours):
    got = list(ours.Count(pb.EchoRequest(text="x", repeat=3000, size=500), timeout=20))
    assert [a.number for a in got] == list(range(3000)) and all(len(a.padding) == 500 for a in got)
    with pytest.raises(grpc.RpcError) as e:
        list(ours.Count(pb.EchoRequest(repeat=2, fail=grpc.StatusCode.DATA_LOSS.value[0]), timeout=20))
    assert e.value.code() == grpc.StatusCode.DATA_LOSS


def test_bidi(ours):
    def say():
        for i in range(300):
            yield pb.EchoRequest(text=f"t{i}")
    assert [a.text for a in ours.Chat(say(), timeout=20)] == [f"t{i}" for i in range(300)]


def test_deadline_and_cancel(ours):
    start = time.monotonic()
    with pytest.raises(grpc.RpcError) as e:
        ours.Once(pb.EchoRequest(hang=True), timeout=0.2)
    assert e.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - start < 5
    stream = ours.Count(pb.EchoRequest(repeat=10_000_000, size=1000), timeout=20)
    for _ in range(10):
        next(stream)
    stream.cancel()
    with pytest.raises(grpc.RpcError) as e:
        list(stream)
    assert e.value.code() == grpc.StatusCode.CANCELLED
    assert ours.Once(pb.EchoRequest(text="still here"), timeout=10).text == "still here"


def test_unknown_and_damaged(procs, peer):
    address, _ = serve(procs, peer)
    with grpc.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as e:
            channel.unary_unary("/telescope.test.v1.Echo/Nothing")(b"", timeout=10)
        assert e.value.code() == grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError) as e:
            channel.unary_unary("/telescope.test.v1.Echo/Once")(b"\xff\xff\xff", timeout=10)
        assert e.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as e:
            channel.unary_unary("/telescope.test.v1.Echo/Once")(b"\x0a" + b"x" * (5 << 20), timeout=10)
        assert e.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_health_and_reflection(procs, peer):
    address, process = serve(procs, peer)
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == serving
        with pytest.raises(grpc.RpcError) as e:
            health.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=10)
        assert e.value.code() == grpc.StatusCode.NOT_FOUND
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) == {"grpc.health.v1.Health", "telescope.test.v1.Echo",
                                                "grpc.reflection.v1alpha.ServerReflection"}
        assert database.FindFileByName("echo.proto").package == "telescope.test.v1"
        watch = health.Watch(health_pb2.HealthCheckRequest(service="telescope.test.v1.Echo"), timeout=20)
        assert next(watch).status == serving
        process.signal(15)
        assert next(watch).status == not_serving
        with pytest.raises(grpc.RpcError) as e:
            next(watch)
        assert e.value.code() == grpc.StatusCode.UNAVAILABLE
    assert process.wait_exit(10) == 0


class TheirEcho(stubs.EchoServicer):
    """The echo service in grpcio."""

    def Once(self, request, context):
        if request.hang:
            context.add_callback(lambda: None)
            while context.is_active():
                time.sleep(0.01)
        if request.fail:
            context.abort([c for c in grpc.StatusCode if c.value[0] == request.fail][0], "failed: " + request.text)
        return pb.EchoResponse(text=request.text, padding=bytes(request.size))

    def Count(self, request, context):
        for i in range(request.repeat):
            if not context.is_active():
                return
            yield pb.EchoResponse(text=request.text, number=i, padding=bytes(request.size))

    def Chat(self, requests, context):
        for request in requests:
            yield pb.EchoResponse(text=request.text)


def test_our_client(peer):
    server = grpc.server(futures.ThreadPoolExecutor(8))
    stubs.add_EchoServicer_to_server(TheirEcho(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        out = subprocess.run([peer, "call", f"127.0.0.1:{port}"], capture_output=True, text=True, timeout=60,
                             check=True).stdout
    finally:
        server.stop(0)
    assert "unary messages=1 bytes=100000 last=hello status=OK" in out
    assert "failed messages=0 bytes=0 last= status=NOT_FOUND text=failed: hello" in out
    assert "stream messages=1000 bytes=1000000 last=hello status=OK" in out
    assert re.search(r"cancelled messages=3 .* status=CANCELLED", out)
    assert "chat messages=10 bytes=0 last=hello status=OK" in out
    assert re.search(r"late messages=0 .* status=DEADLINE_EXCEEDED", out)


def test_mutual_tls(procs, peer, tmp_path):
    make_certificates(tmp_path)
    read = lambda name: (tmp_path / name).read_bytes()
    address, _ = serve(procs, peer, tmp_path / "server.crt", tmp_path / "server.key", tmp_path / "ca.crt")
    mutual = grpc.ssl_channel_credentials(read("ca.crt"), read("client.key"), read("client.crt"))
    with grpc.secure_channel(address, mutual) as channel:
        assert stubs.EchoStub(channel).Once(pb.EchoRequest(text="in"), timeout=10).identity == "client.test"
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(read("ca.crt"))) as channel:
        with pytest.raises(grpc.RpcError) as e:
            stubs.EchoStub(channel).Once(pb.EchoRequest(text="in"), timeout=10)
        assert e.value.code() == grpc.StatusCode.UNAVAILABLE

"""The programs of a pipeline for the benchmarks, over a broker of their own or as standalone.

    with KafkaPipeline(folder, [log]) as pipeline:
        address = pipeline.start()     # everything but the input
        pipeline.start_input()
"""
import pathlib
import socket
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration/lib"))
from kafka_cluster import Cluster  # noqa: E402
from ports import free_port  # noqa: E402
from proc import Processes  # noqa: E402
from waiting import poll_until  # noqa: E402

BIN = ROOT / "build/release/bin"
READY_SECONDS = 120


def is_open(address):
    host, port = address.rsplit(":", 1)
    with socket.socket() as s:
        return s.connect_ex((host, int(port))) == 0


class Pipeline:
    def __init__(self, folder, files, partitions):
        self.folder, self.files, self.partitions = pathlib.Path(folder), files, partitions
        self.procs = Processes(self.folder / "logs")
        self.programs = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        self.procs.__exit__(kind, value, tb)

    def run(self, name, *argv):
        self.programs.append(self.procs.start(name, argv))
        return self.programs[-1]

    def cpu_seconds(self):
        """Of Telescope's programs; the broker's is not among them."""
        return sum(p.cpu_seconds() for p in self.programs)

    def peak_rss_bytes(self):
        return {p.name: p.rss_bytes(peak=True) for p in self.programs}


class StandalonePipeline(Pipeline):
    """One process that does everything. It looks for files in an empty folder, where start_input puts
    them."""

    def start(self):
        self.inbox = self.folder / "inbox"
        self.inbox.mkdir()
        server = self.run("standalone", BIN / "telescope", "standalone", "--data", self.folder / "data",
                          "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--tail", f"{self.inbox}/*.log")
        return server.wait_line(r"^ready http=(\S+)", READY_SECONDS).group(1)

    def start_input(self):
        for file in map(pathlib.Path, self.files):
            (self.inbox / file.name).hardlink_to(file)


class KafkaPipeline(Pipeline):
    def __init__(self, folder, files, partitions):
        super().__init__(folder, files, partitions)
        self.cluster = Cluster(self.folder / "kafka")

    def start(self):
        from topics import create_topic  # confluent-kafka: in the tests' virtual environment only
        self.cluster.start()
        create_topic(self.cluster.bootstrap, "telescope.logs", self.partitions)
        shard, router = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        held = f"0-{self.partitions - 1}"
        self.run("shard", BIN / "telescope-shard", "--config", self.config("shard", f"""
partitions = [ "{held}" ];
data = {{ dir = "{self.folder}/shard"; }};
kafka = {{ brokers = "{self.cluster.bootstrap}"; }};
grpc = {{ listen = "{shard}"; }};
admin = {{ listen = "127.0.0.1:{free_port()}"; }};
"""))
        self.run("router", BIN / "telescope-router", "--config", self.config("router", f"""
http = {{ listen = "{router}"; }};
grpc = {{ listen = "127.0.0.1:{free_port()}"; }};
shards = ( {{ address = "{shard}"; partitions = "{held}"; }} );
"""))
        poll_until(lambda: is_open(router), READY_SECONDS, "the router")
        return router

    def start_input(self):
        paths = ", ".join(f'"{f}"' for f in self.files)
        self.run("sidecar", BIN / "telescope-sidecar", "--config", self.config("sidecar", f"""
data = {{ dir = "{self.folder}/sidecar"; }};
kafka = {{ brokers = "{self.cluster.bootstrap}"; }};
admin = {{ listen = "127.0.0.1:{free_port()}"; }};
inputs = ( {{ plugin = "tail"; name = "bench"; paths = [ {paths} ]; }} );
"""))

    def config(self, name, text):
        path = self.folder / f"{name}.conf"
        path.write_text(text, encoding="utf-8")
        return path

    def __exit__(self, kind, value, tb):
        super().__exit__(kind, value, tb)
        self.cluster.stop()

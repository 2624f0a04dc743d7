"""Real Kafka brokers on loopback ports: Apache Kafka 4 in KRaft mode, broker and controller in one.

    cluster = Cluster(folder, brokers=3)
    cluster.start()                  # formats, starts, waits until all brokers are in
    cluster.bootstrap                # "127.0.0.1:p1,127.0.0.1:p2,127.0.0.1:p3"
    cluster.kill9(0); cluster.start_broker(0)
    cluster.stop()

Everything about a cluster is in its folder (cluster.json, a log per broker), so that a command can
start one and a later command can stop it: see tests/tools/kafka/kafka-cluster.

The jars come from Maven Central through tests/tools/kafka/pom.xml, once, into build/kafka/jars of the
checkout; KAFKA_HOME (a folder with libs/) takes their place. Only Python's standard library is used.
"""
import base64
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
import uuid
from pathlib import Path

from ports import free_port
from waiting import poll_until

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 90


class KafkaError(RuntimeError):
    pass


# ---- jars -----------------------------------------------------------------------------------------

def jars_folder():
    """The folder with Kafka's jars; fetched with Maven when they are not there."""
    home = os.environ.get("KAFKA_HOME")
    if home:
        libs = Path(home) / "libs"
        if not libs.is_dir():
            raise KafkaError(f"KAFKA_HOME={home} has no folder libs")
        return libs
    pom = ROOT / "tests/tools/kafka/pom.xml"
    base = ROOT / "build/kafka"
    base.mkdir(parents=True, exist_ok=True)
    jars, stamp = base / "jars", base / "jars.pom"
    with open(base / "jars.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.exists() and stamp.read_bytes() == pom.read_bytes()):
            shutil.rmtree(jars, ignore_errors=True)
            done = subprocess.run(
                ["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime",
                 f"-DoutputDirectory={jars}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if done.returncode != 0:
                raise KafkaError("Maven could not fetch Kafka:\n" + done.stdout.decode("utf-8", "replace")[-3000:])
            stamp.write_bytes(pom.read_bytes())
    return jars


def _java(heap_mb):
    java = os.path.join(os.environ["JAVA_HOME"], "bin/java") if os.environ.get("JAVA_HOME") else "java"
    return [java, f"-Xms{min(heap_mb, 128)}m", f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-Xshare:auto",
            "-XX:ReservedCodeCacheSize=48m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp", f"{jars_folder()}/*"]


# ---- just enough of Kafka's protocol to ask who is there -------------------------------------------

def _string(s):
    return struct.pack(">h", len(s)) + s.encode()


def metadata(host, port, timeout=2.0):
    """(ids of the brokers, id of the controller) as one broker sees them: Metadata v1, no topics."""
    request = struct.pack(">hhi", 3, 1, 1) + _string("telescope-test") + struct.pack(">i", 0)
    with socket.create_connection((host, port), timeout) as s:
        s.settimeout(timeout)
        s.sendall(struct.pack(">i", len(request)) + request)

        def read(n):
            data = b""
            while len(data) < n:
                more = s.recv(n - len(data))
                if not more:
                    raise ConnectionError("closed")
                data += more
            return data

        body = read(struct.unpack(">i", read(4))[0])
    at = 4
    count, = struct.unpack_from(">i", body, at)
    at += 4
    ids = []
    for _ in range(count):
        node, = struct.unpack_from(">i", body, at)
        at += 4
        length, = struct.unpack_from(">h", body, at)
        at += 2 + length + 4
        rack, = struct.unpack_from(">h", body, at)
        at += 2 + max(rack, 0)
        ids.append(node)
    controller, = struct.unpack_from(">i", body, at)
    return ids, controller


# ---- the cluster ----------------------------------------------------------------------------------

class Cluster:
    def __init__(self, folder, brokers=1, heap_mb=320, config=None):
        self.folder = Path(folder).resolve()
        self.brokers = brokers
        self.heap_mb = heap_mb
        self.config = dict(config or {})
        self.ports = []        # (client, controller) of each broker
        self.pids = [0] * brokers
        self.cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._children = {}

    # -- state on disk --

    @classmethod
    def load(cls, folder):
        with open(Path(folder) / "cluster.json", encoding="utf-8") as f:
            state = json.load(f)
        cluster = cls(folder, state["brokers"], state["heap_mb"], state["config"])
        cluster.ports = [tuple(p) for p in state["ports"]]
        cluster.pids = state["pids"]
        cluster.cluster_id = state["cluster_id"]
        return cluster

    def _save(self):
        state = {"brokers": self.brokers, "heap_mb": self.heap_mb, "config": self.config, "ports": self.ports,
                 "pids": self.pids, "cluster_id": self.cluster_id}
        for name, text in (("cluster.json", json.dumps(state, indent=1)), ("bootstrap", self.bootstrap + "\n")):
            tmp = self.folder / (name + ".tmp")
            tmp.write_text(text, encoding="utf-8")
            tmp.rename(self.folder / name)

    @property
    def bootstrap(self):
        return ",".join(f"127.0.0.1:{p}" for p, _ in self.ports)

    def _properties(self, i):
        voters = ",".join(f"{n + 1}@127.0.0.1:{c}" for n, (_, c) in enumerate(self.ports))
        copies = min(3, self.brokers)
        in_sync = 2 if self.brokers >= 3 else 1
        client, controller = self.ports[i]
        p = {
            "process.roles": "broker,controller",
            "node.id": i + 1,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{client}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.folder / f"broker{i}",
            "num.network.threads": 2,
            "num.io.threads": 2,
            "num.replica.fetchers": 1,
            "background.threads": 2,
            "num.partitions": 4,
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": in_sync,
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            "message.max.bytes": 18 << 20,
            "replica.fetch.max.bytes": 18 << 20,
            "log.cleaner.dedupe.buffer.size": 8 << 20,
            "log.segment.delete.delay.ms": 1000,
            "broker.session.timeout.ms": 6000,
            "broker.heartbeat.interval.ms": 1000,
        }
        p.update(self.config)
        return "".join(f"{k}={v}\n" for k, v in p.items())

    # -- life --

    def format(self):
        """Makes the folders of a new cluster; whatever the folder held is gone."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.ports = [(free_port(), free_port()) for _ in range(self.brokers)]
        for i in range(self.brokers):
            self._format_broker(i)
        self._save()

    def _format_broker(self, i):
        config = self.folder / f"broker{i}.properties"
        config.write_text(self._properties(i), encoding="utf-8")
        done = subprocess.run(_java(128) + ["kafka.tools.StorageTool", "format", f"--cluster-id={self.cluster_id}", "-c", str(config)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder, check=False)
        if done.returncode != 0:
            raise KafkaError("formatting failed:\n" + done.stdout.decode("utf-8", "replace")[-3000:])

    def start(self):
        if not (self.folder / "cluster.json").exists():
            self.format()
        for i in range(self.brokers):
            self.start_broker(i, wait=False)
        self.wait_ready()
        return self

    def start_broker(self, i, wait=True):
        assert not self.alive(i), f"broker {i} runs already"
        with open(self.folder / f"broker{i}.log", "ab") as log:
            child = subprocess.Popen(_java(self.heap_mb) + ["kafka.Kafka", str(self.folder / f"broker{i}.properties")],
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                     start_new_session=True)
        self._children[i] = child
        self.pids[i] = child.pid
        self._save()
        if wait:
            self.wait_ready()

    def wait_ready(self, seconds=START_SECONDS):
        """Until each living broker knows all of them and a controller."""
        living = [i for i in range(self.brokers) if self.alive(i)]

        def ready():
            for i in living:
                if not self.alive(i):
                    raise KafkaError(f"broker {i} ended:\n" + self.tail(i))
                try:
                    ids, controller = metadata("127.0.0.1", self.ports[i][0])
                except (OSError, struct.error):
                    return False
                if len(ids) < len(living) or controller < 0:
                    return False
            return True

        poll_until(ready, seconds, lambda: "brokers ready; the first one's log:\n" + self.tail(living[0]), 0.1)

    def tail(self, i, size=3000):
        try:
            return (self.folder / f"broker{i}.log").read_text("utf-8", "replace")[-size:]
        except OSError:
            return ""

    def alive(self, i):
        """Does broker i run? Its pid must be a Java process of this folder, not another's by chance."""
        child = self._children.get(i)
        if child is not None:
            return child.poll() is None
        pid = self.pids[i]
        if not pid:
            return False
        try:
            return str(self.folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def _signal(self, i, number, seconds):
        if not self.alive(i):
            return True
        try:
            os.kill(self.pids[i], number)
        except ProcessLookupError:
            return True
        deadline = time.monotonic() + seconds
        while self.alive(i):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def kill9(self, i):
        self._signal(i, signal.SIGKILL, 20)

    def stop_broker(self, i, seconds=20):
        if not self._signal(i, signal.SIGTERM, seconds):
            self.kill9(i)

    def wipe_broker(self, i):
        """Broker i, stopped, loses all of its data: with one broker, the cluster comes back empty."""
        assert not self.alive(i)
        shutil.rmtree(self.folder / f"broker{i}")
        self._format_broker(i)

    def stop(self, seconds=10):
        for i in range(self.brokers):  # all at once: a controller without its quorum cannot leave in order
            if self.alive(i):
                os.kill(self.pids[i], signal.SIGTERM)
        for i in range(self.brokers):
            if not self._signal(i, signal.SIGTERM, seconds):
                self.kill9(i)
        self.pids = [0] * self.brokers
        self._children.clear()
        self._save()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        return False

"""Shard servers and a router over a real Kafka, for tests.

    c = ShardCluster(procs, bin_dir, folder, bootstrap, topic, holdings=["0-1", "2-3"])
    c.start(); c.produce(events); c.wait_indexed(n); c.query("error", limit=10)

A server that holds what another holds is its replica. Each keeps its ports when it is started again.
"""
import json
import urllib.error
import urllib.parse
import urllib.request

from confluent_kafka import Producer

from ports import free_port
from records import encode
from waiting import poll_until

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND


class ShardServer:
    def __init__(self, procs, bin_dir, folder, name, bootstrap, topic, partitions, options=()):
        self.partitions = partitions
        self.grpc = f"127.0.0.1:{free_port()}"
        self.admin = f"127.0.0.1:{free_port()}"
        argv = [bin_dir / "telescope-shard", "--data", folder / name]
        for option in (f"node={name}", f"partitions={partitions}", f"kafka.brokers={bootstrap}",
                       f"kafka.topic={topic}", f"grpc.listen={self.grpc}", f"admin.listen={self.admin}",
                       "flush.interval=1s", *options):
            argv += ["-o", option]
        self.process = procs.make(name, argv)


class ShardCluster:
    def __init__(self, procs, bin_dir, folder, bootstrap, topic, holdings, router_options=(), shard_options=()):
        self.bootstrap, self.topic = bootstrap, topic
        self.shards = [ShardServer(procs, bin_dir, folder, f"shard{i}", bootstrap, topic, p, shard_options)
                       for i, p in enumerate(holdings)]
        self.http = f"127.0.0.1:{free_port()}"
        self.grpc = f"127.0.0.1:{free_port()}"
        config = folder / "router.conf"
        groups = ",\n".join(f'  {{ address = "{s.grpc}"; partitions = "{s.partitions}"; }}' for s in self.shards)
        config.write_text(f"shards = (\n{groups}\n);\n", "utf-8")
        argv = [bin_dir / "telescope-router", "--config", config]
        for option in (f"http.listen={self.http}", f"grpc.listen={self.grpc}", *router_options):
            argv += ["-o", option]
        self.router = procs.make("router", argv)

    def start(self):
        for s in self.shards:
            s.process.start()
        self.router.start()
        for p in [s.process for s in self.shards] + [self.router]:
            self.wait_ready(p)
        return self

    def wait_ready(self, process, seconds=30):
        address = self.http if process is self.router else next(
            s.admin for s in self.shards if s.process is process)
        def ready():
            assert process.alive(), f"{process.name} ended; its log:\n{process.log()[-4000:]}"
            try:
                return self.get(address, "/readyz")[0] == 200
            except OSError:
                return False
        poll_until(ready, seconds, lambda: f"{process.name} ready; its log:\n{process.log()[-4000:]}")

    @staticmethod
    def get(address, path, headers=None, **params):
        url = f"http://{address}{path}" + ("?" + urllib.parse.urlencode(params) if params else "")
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=60) as r:
                return r.status, r.headers, r.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()

    def metric(self, address, name):
        """The sum of a metric over its labels."""
        status, _, body = self.get(address, "/metrics")
        assert status == 200
        values = [float(line.rsplit(" ", 1)[1]) for line in body.decode().splitlines()
                  if line.startswith((name + " ", name + "{"))]
        assert values, f"{address} has no {name}"
        return sum(values)

    def produce(self, batches):
        """batches: (partition, source, labels, [(timestamp_ns, body, attributes)]), produced in order."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True})
        positions = {}
        failed = []
        for partition, source, labels, events in batches:
            first = positions.get(source, 0)
            positions[source] = first + len(events)
            record = {"tenant": "default", "resource": labels, "source": source, "events": [
                {"timestamp": t, "position": first + i + 1, "severity": 0, "body": body.encode(),
                 "attributes": {k: v.encode() for k, v in attributes.items()}, "trace_id": None, "span_id": None}
                for i, (t, body, attributes) in enumerate(events)]}
            producer.produce(self.topic, encode(record), key=source.encode(), partition=partition,
                             on_delivery=lambda e, m: e and failed.append(e))
            producer.poll(0)
        assert producer.flush(60) == 0 and not failed, failed

    def ask(self, query, path="query", headers=None, **params):
        return self.get(self.http, "/select/logsql/" + path, headers, query=query, **params)

    def query(self, query, **params):
        """Rows; the answer must be whole."""
        status, headers, body = self.ask(query, **params)
        assert status == 200, (status, body)
        assert "X-Telescope-Partial" not in headers, headers["X-Telescope-Partial"]
        rows = [json.loads(line) for line in body.splitlines()]
        assert not any("_error" in row for row in rows), rows[-1]
        return rows

    def count(self, query="*"):
        rows = self.query(query + " | stats count() n")
        return int(rows[0]["n"]) if rows else 0

    def wait_indexed(self, n, seconds=30):
        poll_until(lambda: self.count() >= n, seconds, lambda: f"{n} events; there are {self.count()}")

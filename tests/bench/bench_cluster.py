#!/usr/bin/env python3
"""bench_query against a cluster: shard servers and a router with a static map, over Kafka, each in a process.

    bench_cluster --queries FILE.tsv --corpus FILE.jsonl [--shards 4] [--partitions 8] [--text FILE]

Starts a broker, the shard servers (each holds its part of the partitions), a router, and a sidecar that takes
inserts; imports the corpus through it, waits until the router finds all of it, ends the sidecar, and runs
bench_query's queries against the router. All of it shares this machine's CPUs: a query costs what it costs in one
server and what the calls between them cost, and is not faster for being spread. The last line is one JSON object:
bench_query's, with the events, the seconds until they could be searched, and each process's CPU and peak memory.
Needs the tests' virtual environment (tests/tools/venv.sh).
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

from bench_query import bench, scan_ms
from pipeline import BIN, KafkaPipeline, READY_SECONDS, free_port, is_open, poll_until

INDEX_SECONDS = 1800


class ClusterPipeline(KafkaPipeline):
    def __init__(self, folder, partitions, shards):
        super().__init__(folder, [], partitions)
        self.shards = shards

    def holding(self, i):
        first, behind = (n * self.partitions // self.shards for n in (i, i + 1))
        return f"{first}-{behind - 1}"

    def start_shard(self, i):
        address = f"127.0.0.1:{free_port()}"
        self.run(f"shard{i}", BIN / "telescope-shard", "--config", self.config(f"shard{i}", f"""
partitions = [ "{self.holding(i)}" ];
data = {{ dir = "{self.folder}/shard{i}"; }};
kafka = {{ brokers = "{self.cluster.bootstrap}"; }};
grpc = {{ listen = "{address}"; }};
admin = {{ listen = "127.0.0.1:{free_port()}"; }};
"""))
        return address

    def start(self):
        from topics import create_topic  # confluent-kafka: in the tests' virtual environment only
        self.cluster.start()
        create_topic(self.cluster.bootstrap, "telescope.logs", self.partitions)
        servers = [(self.start_shard(i), self.holding(i)) for i in range(self.shards)]
        router = f"127.0.0.1:{free_port()}"
        listed = ", ".join(f'{{ address = "{a}"; partitions = "{p}"; }}' for a, p in servers)
        self.run("router", BIN / "telescope-router", "--config", self.config("router", f"""
http = {{ listen = "{router}"; }};
grpc = {{ listen = "127.0.0.1:{free_port()}"; }};
shards = ( {listed} );
"""))
        for address in [router] + [a for a, _ in servers]:
            poll_until(lambda address=address: is_open(address), READY_SECONDS, address)
        return router

    def fill(self, corpus):
        """Imports the corpus through a sidecar, which ends then."""
        insert = f"127.0.0.1:{free_port()}"
        sidecar = self.run("sidecar", BIN / "telescope-sidecar", "--config", self.config("sidecar", f"""
data = {{ dir = "{self.folder}/sidecar"; }};
kafka = {{ brokers = "{self.cluster.bootstrap}"; }};
admin = {{ listen = "127.0.0.1:{free_port()}"; }};
insert = {{ listen = "{insert}"; }};
inputs = ( {{ plugin = "tail"; name = "none"; paths = [ "{self.folder}/none/*.log" ]; }} );
"""))
        poll_until(lambda: is_open(insert), READY_SECONDS, "the sidecar")
        subprocess.run([BIN / "telescope", "import", "--quiet", "--restart", "--url", f"http://{insert}",
                        "--stream-fields", "host,app", corpus], check=True)
        self.used = {"sidecar": usage(sidecar)}
        sidecar.terminate(60)
        self.programs.remove(sidecar)


def usage(program):
    return {"cpu_seconds": round(program.cpu_seconds(), 1), "peak_rss_bytes": program.rss_bytes(peak=True)}


def count(address):
    body = urllib.parse.urlencode({"query": "* | stats count() n", "timeout": "60s"}).encode()
    with urllib.request.urlopen(f"http://{address}/select/logsql/query", body, timeout=90) as answer:
        if answer.headers.get("X-Telescope-Partial"):
            return -1
        return int(json.loads(answer.read() or b'{"n":"0"}')["n"])


def lines_of(path):
    with open(path, "rb") as f:
        return sum(block.count(b"\n") for block in iter(lambda: f.read(1 << 20), b""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--text", help="the same events as text, for the yardstick of rg")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--timeout", type=int, default=60, help="seconds for one query")
    args = parser.parse_args()
    if not 1 <= args.shards <= args.partitions:
        parser.error("each shard server holds at least one partition")
    with open(args.queries, encoding="utf-8") as f:
        queries = [line.rstrip("\n").split("\t", 1) for line in f if "\t" in line]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-cluster-"))
    events = lines_of(args.corpus)
    out = {"bench": "bench_cluster", "shards": args.shards, "partitions": args.partitions, "events": events}
    try:
        with ClusterPipeline(folder, args.partitions, args.shards) as cluster:
            address = cluster.start()
            began = time.monotonic()
            cluster.fill(args.corpus)
            poll_until(lambda: count(address) == events, INDEX_SECONDS, lambda: f"{events}, not {count(address)} events")
            out["index_seconds"] = round(time.monotonic() - began, 1)
            print(f"{events} events over {args.shards} shard servers in {out['index_seconds']} s", flush=True)
            out["queries"] = bench(address, queries, args.runs, args.timeout)
            out["processes"] = {**cluster.used, **{p.name: usage(p) for p in cluster.programs}}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if args.text:
        out["rg_scan_ms"] = round(scan_ms(args.text, args.runs), 1)
    print(json.dumps(out))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What becomes of queries, memory and starts while a shard grows: a row for each size.

    bench_growth --source 'zcat part-{n}.jsonl.gz' --steps 1,2,4 [--needle TEXT]
    bench_growth --source 'loggen -n 1000000 -s {n} -f json app.log' --steps 1,4,16,64

--source is a shell command that prints JSON lines; {n} is 1, 2, 3, ... and each run of it is imported in
turn into one folder of `telescope standalone` (--data DIR keeps it, and goes on with what is there). After
each number of --steps the server is started anew, and measured are: the time of its start; the first
answer to a query that looks for something in vain (`absent`), which has to read what stays in memory of
every segment; the median time of each query over --runs; and the resident memory at rest, after the
queries and when nobody has asked for --idle seconds. --needle is a word of the first source (default: the
longest word with a digit in its first line). The last line is one JSON object.
"""
import argparse
import http.client
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration/lib"))
from proc import Processes  # noqa: E402

BIN = pathlib.Path(__file__).resolve().parents[2] / "build/release/bin"
ABSENT = '"zzqx-no-such-id-4711"'


def queries(needle):
    return [("absent", ABSENT),
            ("needle", f'"{needle}"'),
            ("newest_100", "* | sort by (_time) desc | limit 100"),
            ("newest_100_word", "error | sort by (_time) desc | limit 100"),
            ("count", "* | stats count() n"),
            ("count_by_app", "* | stats by (app) count() n"),
            ("uniq_hosts", "* | uniq by (host) | count()")]


def ask(address, query):
    """(text, milliseconds)"""
    connection = http.client.HTTPConnection(address, timeout=300)
    start = time.perf_counter()
    connection.request("POST", "/select/logsql/query", urllib.parse.urlencode({"query": query, "timeout": "300s"}),
                       {"Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    elapsed = (time.perf_counter() - start) * 1000
    if answer.status != 200 or answer.getheader("X-Telescope-Partial"):
        raise SystemExit(f"bench_growth: {query}: {answer.status} {text[:300]}")
    return text, elapsed


def start(procs, name, data):
    begun = time.perf_counter()
    server = procs.start(name, [BIN / "telescope", "standalone", "--data", data, "--http", "127.0.0.1:0",
                                "--grpc", "127.0.0.1:0"])
    address = server.wait_line(r"^ready http=(\S+)", 900).group(1)
    return server, address, (time.perf_counter() - begun) * 1000


def needle_of(source):
    command = source.replace("{n}", "1")
    with subprocess.Popen(command, shell=True, stdout=subprocess.PIPE) as out:
        event = json.loads(out.stdout.readline())
        out.kill()
    words = [w for w in re.findall(r"\w+", event["_msg"]) if re.search(r"\d", w)]
    return max(words, key=len)


def fill(address, source, number):
    command = source.replace("{n}", str(number))
    with subprocess.Popen(command, shell=True, stdout=subprocess.PIPE) as out:
        subprocess.run([BIN / "telescope", "import", "--restart", "--quiet", "--url", f"http://{address}",
                        "--stream-fields", "host,app", "-"], stdin=out.stdout, check=True)


def settle(address):
    """Until what was imported is in segments: the number of events in memory is 0."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        held = re.findall(r"^telescope_shard_memory_bytes\S* (\S+)", text, re.M)
        lag = re.findall(r"^telescope_shard_lag_messages\S* (\S+)", text, re.M)
        if held and not any(float(v) for v in held + lag):
            return
        time.sleep(0.5)
    raise SystemExit("bench_growth: what was imported is not in segments after 180 s")


def measure(procs, data, step, needle, args):
    server, address, started = start(procs, f"step-{step}", data)
    row = {"step": step, "start_ms": round(started, 1), "rest_rss_mb": server.rss_bytes() >> 20}
    row["first_ms"] = round(ask(address, ABSENT)[1], 2)
    row["events"] = int(json.loads(ask(address, "* | stats count() n")[0])["n"])
    for name, query in queries(needle):
        ask(address, query)
        row[name + "_ms"] = round(statistics.median(ask(address, query)[1] for _ in range(args.runs)), 2)
    row["rss_mb"] = server.rss_bytes() >> 20
    time.sleep(args.idle)
    row["idle_rss_mb"] = server.rss_bytes() >> 20
    server.stop()
    print("  ".join(f"{k} {v}" for k, v in row.items()), flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--steps", default="1,4", help="after how many runs of the source to measure")
    parser.add_argument("--needle")
    parser.add_argument("--data", help="keep the folder; runs that an earlier call imported are skipped")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--idle", type=float, default=5)
    args = parser.parse_args()
    steps = sorted({int(s) for s in args.steps.split(",")})
    needle = args.needle or needle_of(args.source)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-growth-"))
    data = pathlib.Path(args.data) if args.data else folder / "data"
    done = data.with_name(data.name + ".runs")
    number = int(done.read_text(encoding="utf-8")) if done.exists() else 0
    rows = []
    try:
        with Processes(folder / "logs") as procs:
            for step in steps:
                if number < step:
                    server, address, _ = start(procs, f"fill-{step}", data)
                    while number < step:
                        number += 1
                        fill(address, args.source, number)
                    settle(address)
                    server.stop()
                    if args.data:
                        done.write_text(str(number), encoding="utf-8")
                rows.append(measure(procs, data, step, needle, args))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"bench": "bench_growth", "needle": needle, "rows": rows}))


if __name__ == "__main__":
    main()

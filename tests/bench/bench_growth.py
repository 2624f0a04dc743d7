#!/usr/bin/env python3
"""What becomes of queries, memory and starts while a shard grows: a row for each size.

    bench_growth --source 'zcat part-{n}.jsonl.gz' --steps 1,2,4 [--needle TEXT]
    bench_growth --source 'loggen -n 1000000 -s {n} -f json app.log' --steps 1,4,16,64

--source is a shell command that prints JSON lines; {n} is 1, 2, 3, ... and each run of it is imported in
turn into one folder of `telescope standalone` (--data DIR keeps it, and goes on with what is there). After
each number of --steps the server is started anew, and measured are: the time of its start; the first
answer to a query that looks for something in vain, which has to read what stays in memory of every
segment; the median and the least time of each query over --runs, no two of them alike (another needle,
another limit), so that no kept answer is timed; and the resident memory at rest, after the queries, and
when nobody has asked for --idle seconds. --needle is a word to look for (default: long words with digits
of the first source's first lines). The last line is one JSON object.
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


def queries(needles):
    """name -> the query of a run"""
    return {"absent": lambda run: f'"zzqx-no-such-id-{4711 + run}"',
            "needle": lambda run: f'"{needles[run % len(needles)]}"',
            "newest_100": lambda run: f"* | sort by (_time) desc | limit {100 + run}",
            "newest_100_word": lambda run: f"error | sort by (_time) desc | limit {100 + run}",
            "count": lambda run: f"* | stats count() n | limit {10_000 + run}",
            "count_by_app": lambda run: f"* | stats by (app) count() n | limit {10_000 + run}",
            "uniq_hosts": lambda run: f"* | uniq by (host) | count() | limit {10_000 + run}"}


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


def needles_of(source, count):
    """The longest word with a digit of each of the first lines that have one, no two alike."""
    needles = []
    with subprocess.Popen(source.replace("{n}", "1"), shell=True, stdout=subprocess.PIPE) as out:
        for line in out.stdout:
            words = [w for w in re.findall(r"\w+", json.loads(line)["_msg"]) if re.search(r"\d", w)]
            word = max(words, key=len, default="")
            if len(word) >= 12 and word not in needles:
                needles.append(word)
            if len(needles) == count:
                break
        out.kill()
    return needles


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


def measure(procs, data, step, needles, args):
    server, address, started = start(procs, f"step-{step}", data)
    row = {"step": step, "start_ms": round(started, 1), "rest_rss_mb": server.rss_bytes() >> 20}
    row["first_ms"] = round(ask(address, '"zzqx-no-such-id"')[1], 2)
    row["events"] = int(json.loads(ask(address, "* | stats count() n")[0])["n"])
    for name, query in queries(needles).items():
        ask(address, query(args.runs))
        times = [ask(address, query(run))[1] for run in range(args.runs)]
        row[name + "_ms"], row[name + "_min_ms"] = round(statistics.median(times), 2), round(min(times), 2)
    row["rss_mb"] = server.rss_bytes() >> 20
    time.sleep(args.idle)
    row["idle_rss_mb"] = server.rss_bytes() >> 20
    server.terminate(120)
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
    needles = [args.needle] if args.needle else needles_of(args.source, args.runs)
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
                    server.terminate(120)
                    if args.data:
                        done.write_text(str(number), encoding="utf-8")
                rows.append(measure(procs, data, step, needles, args))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"bench": "bench_growth", "needles": needles, "rows": rows}))


if __name__ == "__main__":
    main()

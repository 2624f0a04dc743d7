#!/usr/bin/env python3
"""What becomes of queries, memory and starts while a shard grows: a row for each size.

    bench_growth --source 'zcat part-{n}.jsonl.gz' --steps 1,2,4 [--needle TEXT]
    bench_growth --source 'loggen -n 1000000 -s {n} -f json app.log' --steps 1,4,16,64

--source is a shell command that prints JSON lines; {n} is 1, 2, 3, ... and each run of it is imported in
turn into one folder of `telescope standalone` (--data DIR keeps it, and goes on with what is there). After
each number of --steps the server is started anew, and measured are: the time of its start; the first
answer to a query that looks for something in vain, which has to read what stays in memory of every
segment; the median and the least time of each query over --runs and the server's CPU time for one, no two
of them alike (another needle, another limit), so that no kept answer is timed; and the resident memory at rest, after the queries, and
when nobody has asked for --idle seconds. --needle is a word to look for (default: long words with digits
that stand once in the first lines of the first source). The last line is one JSON object.
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

LINES = 50_000  # that needles are taken from
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
    """Words with a digit, of twelve characters and more, that stand once in the first lines."""
    seen = {}
    with subprocess.Popen(source.replace("{n}", "1"), shell=True, stdout=subprocess.PIPE) as out:
        for _, line in zip(range(LINES), out.stdout):
            for word in re.findall(r"\w{12,}", json.loads(line)["_msg"]):
                if re.search(r"\d", word):
                    seen[word] = seen.get(word, 0) + 1
        out.kill()
    once = [word for word, times in seen.items() if times == 1]
    if not once:
        raise SystemExit("bench_growth: no word stands once in the first lines: give one with --needle")
    return once[:: max(1, len(once) // count)][:count]


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
        before = server.cpu_seconds()
        times = [ask(address, query(run))[1] for run in range(args.runs)]
        row[name + "_cpu_ms"] = round((server.cpu_seconds() - before) * 1000 / args.runs, 2)
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

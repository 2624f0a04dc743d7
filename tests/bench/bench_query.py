#!/usr/bin/env python3
"""Times queries over HTTP: a row per query with the median in ms and the number of rows.

    bench_query --queries FILE.tsv --url http://127.0.0.1:7070      a server that runs already
    bench_query --queries FILE.tsv --data DIR                       starts `telescope standalone` over DIR
    bench_query --queries FILE.tsv --corpus FILE.jsonl              the same over a new folder, filled first

The file has a name, a tab and a LogsQL query on each line. Each query is run once to warm up and then
--runs times, with cache=off so that shards search; the answer is read to its end. Shards keep what a query with statistics came to in each
segment; so that the work is timed and not the memory of it, each run of such a query ends in a limit of
its own, which changes the text and nothing else. "repeated" is the same text again, and the router may keep replies. With --text FILE, `rg -c` of a string that is not in FILE is
timed beside them: what a scan of the whole text costs. The last line is one JSON object.
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

KEPT = re.compile(r"\|\s*(stats|count|top|uniq)\b")
BIN = pathlib.Path(__file__).resolve().parents[2] / "build/release/bin"


def ask(connection, query, timeout, cache="off"):
    """(rows, seconds) of one query."""
    body = urllib.parse.urlencode({"query": query, "timeout": f"{timeout}s", "cache": cache})
    start = time.perf_counter()
    connection.request("POST", "/select/logsql/query", body,
                       {"Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    text = answer.read()
    seconds = time.perf_counter() - start
    if answer.status != 200:
        raise SystemExit(f"bench_query: {query}: {answer.status} {text[:300].decode('utf-8', 'replace')}")
    if answer.getheader("X-Telescope-Partial"):
        raise SystemExit(f"bench_query: {query}: partial: {answer.getheader('X-Telescope-Partial')}")
    return text.count(b"\n"), seconds


def unlike_before(query, run):
    return f"{query} | limit {10_000_000 + run}" if KEPT.search(query) else query


def bench(address, queries, runs, timeout):
    connection = http.client.HTTPConnection(address, timeout=timeout + 10)
    results = []
    for name, query in queries:
        rows, _ = ask(connection, query, timeout)
        times = [ask(connection, unlike_before(query, run), timeout)[1] for run in range(runs)]
        again = [ask(connection, query, timeout, "on")[1] for _ in range(runs)]
        median, repeated = (statistics.median(t) * 1000 for t in (times, again))
        print(f"{name:20} {median:10.2f} ms  (repeated {repeated:9.2f})  {rows:8} rows", flush=True)
        results.append({"name": name, "median_ms": round(median, 3), "min_ms": round(min(times) * 1000, 3),
                        "repeated_ms": round(repeated, 3), "rows": rows})
    return results


def scan_ms(text_file, runs):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(["rg", "-c", "zzqx-no-such-text", text_file], check=False, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def standalone(procs, data):
    server = procs.start("standalone", [BIN / "telescope", "standalone", "--data", data,
                                        "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"])
    return server, server.wait_line(r"^ready http=(\S+)", 600).group(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", required=True)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url")
    where.add_argument("--data")
    where.add_argument("--corpus")
    parser.add_argument("--text", help="the same events as text, for the yardstick of rg")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--timeout", type=int, default=60, help="seconds for one query")
    args = parser.parse_args()
    with open(args.queries, encoding="utf-8") as f:
        queries = [line.rstrip("\n").split("\t", 1) for line in f if "\t" in line]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-query-"))
    out = {"bench": "bench_query"}
    try:
        with Processes(folder / "logs") as procs:
            if args.url:
                address = urllib.parse.urlsplit(args.url).netloc
            else:
                server, address = standalone(procs, args.data or folder / "data")
                if args.corpus:
                    subprocess.run([BIN / "telescope", "import", "--restart", "--url", f"http://{address}",
                                    "--stream-fields", "host,app", args.corpus], check=True)
            out["queries"] = bench(address, queries, args.runs, args.timeout)
            if not args.url:
                out["peak_rss_bytes"] = server.rss_bytes(peak=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if args.text:
        out["rg_scan_ms"] = round(scan_ms(args.text, args.runs), 1)
        print(f"{'rg -c over the text':20} {out['rg_scan_ms']:10.2f} ms")
    print(json.dumps(out))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What happens when queries ask for more than there is memory: `telescope standalone` over events with a unique
id each; queries that sort, group or collect all ids, one at a time and ten at once; and beside them a small query
of another tenant. Each big query must answer, or be refused (422) with the limit that it met; the process stays.

    bench_bounds.py BIN_DIR [--events N] [--data DIR] [--at-once N]

DIR, if it is there, holds the events of an earlier run. The last line is one JSON object: for each query its
status, seconds and what the process used at most; and the small query's median, alone and beside the others.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

BIG = ["* | sort by (id)", "* | sort by (id) limit 10", "* | uniq by (id)", "* | stats by (id) count() n",
       "* | stats count_uniq(id) n", "* | stats count_uniq_hash(id) n", "* | top 10 by (id)", "* | stats values(id) v",
       '* | extract "id=<x> " | uniq by (x)', "* | join by (id) (* | fields id) | count() n",
       "id:in(* | fields id) | count() n"]


def small_query(n):
    """Never the same text twice in a row: an answer that is kept would not measure anything."""
    return '"took %d ms" | stats by (app) count() n' % (n % 977)


def events(n):
    """JSON lines with an id that looks random and is never repeated."""
    for i in range(n):
        h = i * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        level = "info" if i % 97 else "error"
        yield ('{"_time":"%d","app":"a%d","level":"%s","id":"%016x","_msg":"request id=%016x took %d ms, %s"}\n' %
               (1767225600 * 10**9 + i * 5000000, i % 7, level, h, h, i % 977, level))


class Server:
    def __init__(self, bin_dir, data):
        self.process = subprocess.Popen([os.path.join(bin_dir, "telescope"), "standalone", "--data", data, "--http",
                                         "127.0.0.1:0", "--grpc", "127.0.0.1:0"], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            m = re.match(r"ready http=(\S+)", line)
            if m:
                self.url = "http://" + m[1]
                return
        raise SystemExit("telescope standalone did not start")

    def query(self, text, tenant="default", timeout="300s"):
        body = urllib.parse.urlencode({"query": text, "timeout": timeout, "cache": "off"}).encode()
        request = urllib.request.Request(self.url + "/select/logsql/query", body, {"X-Scope-OrgID": tenant})
        try:
            with urllib.request.urlopen(request, timeout=600) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def rss_bytes(self, peak=True):
        with open("/proc/%d/status" % self.process.pid) as f:
            return int(re.search(("VmHWM" if peak else "VmRSS") + r":\s+(\d+)", f.read())[1]) * 1024

    def fill(self, bin_dir, tenant, n):
        load = subprocess.Popen([os.path.join(bin_dir, "telescope"), "import", "--quiet", "--restart", "--url", self.url,
                                 "--tenant", tenant, "--stream-fields", "app", "-"], stdin=subprocess.PIPE, text=True)
        for line in events(n):
            load.stdin.write(line)
        load.stdin.close()
        if load.wait():
            raise SystemExit("the import failed")
        while json.loads(self.query("* | count() n", tenant)[1])["n"] != str(n):
            time.sleep(0.1)


def timed(server, text, tenant="default"):
    start = time.monotonic()
    status, body = server.query(text, tenant)
    return status, time.monotonic() - start, body


def small(server, seconds, count=9):
    """The median of the small query's times."""
    out, end = [], time.monotonic() + seconds
    while len(out) < count or time.monotonic() < end:
        status, took, body = timed(server, small_query(len(out)), "small")
        if status != 200 or len(body.splitlines()) != 7:
            raise SystemExit("the small query failed: %d %s" % (status, body))
        out.append(took)
    return statistics.median(out), statistics.mean(out)


def together(server, queries):
    answers = [None] * len(queries)

    def run(i):
        answers[i] = timed(server, queries[i])
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(queries))]
    for t in threads:
        t.start()
    took = []
    while any(t.is_alive() for t in threads):
        took.append(timed(server, small_query(300 + len(took)), "small"))
    return answers, took


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("bin_dir")
    args.add_argument("--events", type=int, default=10_000_000)
    args.add_argument("--at-once", type=int, default=10)
    args.add_argument("--data")
    o = args.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = o.data or os.path.join(scratch, "data")
        fresh = not os.path.isdir(data)
        server = Server(o.bin_dir, data)
        if fresh:
            server.fill(o.bin_dir, "default", o.events)
            server.fill(o.bin_dir, "small", 10000)
            server.process.terminate()
            server.process.wait()
            server = Server(o.bin_dir, data)
        alone, mean = small(server, 2)
        result = {"events": o.events, "small_ms": round(alone * 1e3, 1), "small_mean_ms": round(mean * 1e3, 1),
                  "queries": []}
        for text in BIG:
            status, took, body = timed(server, text)
            result["queries"].append({"query": text, "status": status, "seconds": round(took, 2),
                                      "says": "" if status == 200 else body.strip()[:200],
                                      "peak_rss_bytes": server.rss_bytes()})
            print(result["queries"][-1], flush=True)
        queries = [BIG[i % len(BIG)] for i in range(o.at_once)]
        start = time.monotonic()
        answers, took = together(server, queries)
        result["at_once"] = {
            "queries": len(queries), "seconds": round(time.monotonic() - start, 2),
            "statuses": sorted(a[0] for a in answers), "peak_rss_bytes": server.rss_bytes(),
            "small_failed": sum(s != 200 for s, _, _ in took), "small_count": len(took),
            "small_ms": round(statistics.median(t for _, t, _ in took) * 1e3, 1),
            "small_mean_ms": round(statistics.mean(t for _, t, _ in took) * 1e3, 1),
            "small_max_ms": round(max(t for _, t, _ in took) * 1e3, 1)}
        result["alive"] = server.process.poll() is None
        server.process.terminate()
        server.process.wait()
        print(json.dumps(result))


main()

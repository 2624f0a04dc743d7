#!/usr/bin/env python3
"""From a line in a log file to a row that a query finds: rate and delay, with real processes.

    bench_pipeline                       telescope standalone (the journal as its queue)
    bench_pipeline --kafka               broker, telescope-sidecar, telescope-shard and telescope-router

Two parts, each on a fresh set of processes:

  sustained  a file that is complete before anything starts: events in it, divided by the time from the
             sidecar's start until a query counts them all
  paced      lines appended at --rate a second for --seconds; a query counts what is searchable about
             every 20 ms. Lines are numbered and appended in order, so a count says which lines are
             searchable: the delay of each line is the time of the first count that includes it, less the
             time when it was written. That is up to one poll too long, never too short

With --corpus the lines are those of a file (plain text, or JSON lines, of which _time and _msg are taken); otherwise
made up ones. The last line is one JSON object.
"""
import argparse
import http.client
import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration/lib"))
from pipeline import KafkaPipeline, StandalonePipeline  # noqa: E402
from waiting import poll_until  # noqa: E402


def made_up(count):
    for i in range(count):
        yield (f"INFO request req-{i * 2654435761 % 4294967296:08x} from 10.{i % 7}.{i // 7 % 250}.{i % 251} "
               f"took {i % 977} ms status={200 if i % 19 else 500} user=u{i % 5003}")


def text_of(event):
    """As an application would have written it: its time first. (Dates inside a message are not its time.)"""
    return f"{event['_time']} {event['_msg']}"


def corpus(path, count):
    done = 0
    while done < count:
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                yield text_of(json.loads(line)) if path.endswith(".jsonl") else line.rstrip("\n")
                done += 1
                if done == count:
                    return


def lines_of(args, count):
    return corpus(args.corpus, count) if args.corpus else made_up(count)


class Counter:
    """Counts what is searchable."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=30)

    def count(self):
        body = urllib.parse.urlencode({"query": "* | stats count() n"})
        self.connection.request("POST", "/select/logsql/query", body,
                                {"Content-Type": "application/x-www-form-urlencoded"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status == 503 or answer.getheader("X-Telescope-Partial"):
            return 0  # a shard is not up yet
        if answer.status != 200:
            raise SystemExit(f"bench_pipeline: {answer.status} {text[:300]}")
        return int(json.loads(text)["n"]) if text.strip() else 0


def sustained(make, args):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-pipeline-"))
    try:
        log = folder / "in" / "app.log"
        log.parent.mkdir()
        with open(log, "w", encoding="utf-8") as f:
            f.writelines(line + "\n" for line in lines_of(args, args.events))
        size = log.stat().st_size
        with make(folder, [str(log)]) as pipeline:
            counter = Counter(pipeline.start())
            start = time.monotonic()
            pipeline.start_input()
            cpu_before = pipeline.cpu_seconds()
            while (n := counter.count()) < args.events:
                if time.monotonic() - start > args.deadline:
                    raise SystemExit(f"bench_pipeline: {n} of {args.events} after {args.deadline} s")
                time.sleep(0.05)
            seconds = time.monotonic() - start
            cpu = pipeline.cpu_seconds() - cpu_before
            rss = pipeline.peak_rss_bytes()
        return {"events": args.events, "bytes": size, "seconds": round(seconds, 3),
                "events_per_second": round(args.events / seconds), "cpu_us_per_event": round(cpu / args.events * 1e6, 3),
                "peak_rss_bytes": rss}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Writer(threading.Thread):
    """Appends lines at a rate, in chunks of 5 ms; remembers when each chunk was written."""

    def __init__(self, path, chunks, interval):
        super().__init__()
        self.path, self.chunks, self.interval = path, chunks, interval
        self.written = []  # (lines so far, time)

    def run(self):
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        start, total = time.monotonic(), 0
        for i, (lines, data) in enumerate(self.chunks):
            pause = start + i * self.interval - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            os.write(fd, data)
            total += lines
            self.written.append((total, time.monotonic()))
        os.close(fd)


def paced(make, args):
    interval, count = 0.005, args.rate * args.seconds
    per_chunk = max(1, int(args.rate * interval))
    lines = list(lines_of(args, count))
    chunks = [(len(part), "".join(line + "\n" for line in part).encode())
              for part in (lines[i:i + per_chunk] for i in range(0, count, per_chunk))]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-pipeline-"))
    try:
        log = folder / "in" / "app.log"
        log.parent.mkdir()
        log.write_text("a first line, so that all connections are made\n", encoding="ascii")
        with make(folder, [str(log)]) as pipeline:
            counter = Counter(pipeline.start())
            pipeline.start_input()
            poll_until(lambda: counter.count() == 1, args.deadline, "the first line")
            writer = Writer(log, chunks, per_chunk / args.rate)
            writer.start()
            seen, deadline = [], time.monotonic() + args.seconds + args.deadline
            while not seen or seen[-1][0] < count:
                n = counter.count() - 1
                seen.append((n, time.monotonic()))
                if seen[-1][1] > deadline:
                    raise SystemExit(f"bench_pipeline: {n} of {count} at the deadline")
                time.sleep(0.02)
            writer.join()
        return {"rate": args.rate, "events": count, **delays(writer.written, seen)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def delays(written, seen):
    """Percentiles of the delay over all lines; lines of one chunk that were seen at once are one weight."""
    out, w, before = [], 0, 0
    for n, at in seen:
        while before < n:
            total, when = written[w]
            upto = min(n, total)
            out.append((at - when, upto - before))
            before = upto
            if before == total:
                w += 1
    out.sort()
    total, result, run = sum(weight for _, weight in out), {}, 0
    marks = [("p50_ms", 0.5), ("p99_ms", 0.99)]
    for delay, weight in out:
        run += weight
        while marks and run >= marks[0][1] * total:
            result[marks.pop(0)[0]] = round(delay * 1000, 1)
    result["max_ms"] = round(out[-1][0] * 1000, 1)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", action="store_true", help="over a real broker instead of standalone")
    parser.add_argument("--corpus")
    parser.add_argument("--events", type=int, default=2_000_000, help="of the sustained part; 0 leaves it out")
    parser.add_argument("--rate", type=int, default=20_000, help="lines a second of the paced part; 0 leaves it out")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--deadline", type=int, default=300)
    args = parser.parse_args()

    def make(folder, files):
        return (KafkaPipeline if args.kafka else StandalonePipeline)(folder, files, partitions=args.partitions)

    out = {"bench": "bench_pipeline", "queue": "kafka" if args.kafka else "journal"}
    if args.events:
        out["sustained"] = sustained(make, args)
        print(out["sustained"], flush=True)
    if args.rate:
        out["paced"] = paced(make, args)
        print(out["paced"], flush=True)
    print(json.dumps(out))


if __name__ == "__main__":
    main()

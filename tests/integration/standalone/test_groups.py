"""Groups that segments count without rows are those of the rows: random groupings over segments, memory and both, asked
twice (the second answer may come from what was kept), against a count in Python."""
import collections
import json
import random
import re

from standalone import Standalone

APPS, HOSTS, LEVELS = ["nginx", "hdfs", "sshd", ""], ["web-1", "web-2", "db-1", ""], ["info", "warn", "error", ""]
LINES = ["connection from 10.0.0.{} closed", "error reading block blk_{}", "user bob took {} ms", "warn: disk {} is slow"]
FIELDS = ["app", "host", "level", "user", "_stream", "nothing"]


def events(rand, count, first):
    """In batches of one set of stream fields: app is a label of some events and an attribute of others."""
    for start in range(0, count, 200):
        labels = rand.choice(["app", "host", "app,host", "host,level"])
        batch = []
        for i in range(start, min(start + 200, count)):
            at = first + i * 7_000_000
            event = {"_time": f"2026-01-02T03:{at // 60_000_000_000:02d}:{at // 1_000_000_000 % 60:02d}.{at % 1_000_000_000:09d}Z",
                     "_msg": rand.choice(LINES).format(rand.randrange(50)), "app": rand.choice(APPS),
                     "host": rand.choice(HOSTS), "level": rand.choice(LEVELS)}
            if rand.random() < 0.3:
                event["user"] = str(rand.randrange(5))
            batch.append({k: v for k, v in event.items() if v})
        yield labels, batch


def with_stream(labels, event):
    own = sorted(name for name in labels.split(",") if name in event)
    return {**event, "_stream": "{" + ",".join(f"{n}={json.dumps(event[n])}" for n in own) + "}"}


FILTERS = [("*", lambda e: True), ("error", lambda e: "error" in re.findall(r"\w+", e["_msg"])),
           ("level:warn", lambda e: e.get("level") == "warn"), ("!app:nginx", lambda e: e.get("app") != "nginx"),
           ('{app="hdfs"}', lambda e: 'app="hdfs"' in e["_stream"]),
           ('"17"', lambda e: "17" in re.findall(r"\w+", e["_msg"])),
           ("_time:[2026-01-02T03:00:03Z, 2026-01-02T03:00:09Z)",
            lambda e: "2026-01-02T03:00:03" <= e["_time"] < "2026-01-02T03:00:09")]


def random_query(rand):
    """(query, what it gives as a Counter of (fields' values, number))"""
    text, matches = rand.choice(FILTERS)
    fields = rand.sample(FIELDS, rand.randrange(1, 4))
    kind = rand.choice(["stats", "stats", "time", "if", "uniq", "top"])

    def key(e):
        return tuple((f, e[f]) for f in sorted(fields) if e.get(f))

    names = ", ".join(fields)
    if kind == "uniq":
        return f"{text} | uniq by ({names}) with hits", matches, key, lambda e: 1
    if kind == "top":
        return f"{text} | top 1000 by ({names})", matches, key, lambda e: 1
    if kind == "if":
        return f"{text} | stats by ({names}) count() if (level:error) hits", matches, key, \
            lambda e: int(e.get("level") == "error")
    if kind == "time":
        def timed(e):
            return tuple(sorted(key(e) + (("_time", e["_time"][:19] + "Z"),)))
        return f"{text} | stats by ({names}, _time:1s) count() hits", matches, timed, lambda e: 1
    return f"{text} | stats by ({names}) count() hits", matches, key, lambda e: 1


def check(server, rand, everything, queries):
    for _ in range(queries):
        query, matches, key, number = random_query(rand)
        want = collections.Counter()
        for e in everything:
            if matches(e):
                want[key(e)] += number(e)
        for _ in range(2):
            got = {tuple(sorted((k, v) for k, v in row.items() if k != "hits")): int(row["hits"])
                   for row in server.query(query)}
            assert got == dict(want), query


def test_groups(procs, bin_dir, tmp_path, seed):
    rand = random.Random(seed)
    server = Standalone(procs, bin_dir, tmp_path / "data").start()
    everything = []

    def insert(count):
        first = len(everything) * 7_000_000
        for labels, batch in events(rand, count, first):
            assert server.insert(batch, _stream_fields=labels)
            everything.extend(with_stream(labels, e) for e in batch)
        server.wait_count("*", len(everything))

    insert(1000)
    check(server, rand, everything, 40)  # all in memory
    server.stop()
    server.start()
    check(server, rand, everything, 60)  # all in segments
    insert(600)
    check(server, rand, everything, 60)  # both
    server.stop()
    server.start()
    insert(200)
    check(server, rand, everything, 40)
    server.stop()

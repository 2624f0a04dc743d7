"""A shard server is killed again and again while it reads from Kafka, flushes, merges, drops days and
codes cold ones anew; every event is found exactly once in the end.

Events of several sources go to two partitions without a pause, over today and three days before, some of
them again, as from a sidecar that begins at its checkpoint. A tenant of its own fills days of long ago,
which go by size; and some events are older than the retention: of those none may be found.

TEL_SHARD_KILLS: how often (default 20).
"""
import os
import random
import threading
import time
from collections import Counter

import pytest
import requests
from confluent_kafka import Producer

from ports import free_port
from records import encode
from shards import ShardServer
from topics import create_topic, new_topic_name
from waiting import poll_until

KILLS = int(os.environ.get("TEL_SHARD_KILLS", "20"))
DAY = 86400 * 10**9
SOURCES = 6
RETENTION_DAYS = 400
LIFE_SECONDS = 2  # at most: what a life waits for may have nothing to do
COUNTERS = ("flushes_total", "merges_total", "recoded_segments_total", "retention_days_total")  # of one life
KEPT = ("repeats_dropped_total", "events_outside_total")  # of the whole log: stored with the resume offset


class Sender(threading.Thread):
    """Produces until it is told to stop. What it knows of afterwards is in Kafka."""

    def __init__(self, bootstrap, topic, seed):
        super().__init__(daemon=True)
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
        self.topic, self.random = topic, random.Random(seed)
        self.stopped = threading.Event()
        self.next = [1] * SOURCES  # position of the source's next event
        self.outside = 0           # events older than the retention
        self.bulk = 0
        self.error = None

    def event(self, source, position, now):
        """The same for a position whenever it is asked for. A day's turn comes, and goes, so that cold ones
        have rest enough to be coded anew."""
        draw = random.Random(source << 40 | position).random()
        old = draw < 0.01
        age = (RETENTION_DAYS + 10 if old else position // 500 % 4) * DAY
        return old, {"timestamp": now - age, "position": position, "severity": 0,
                     "body": f"{'old' if old else 'task'} {source}-{position} of worker {position % 7} took {position * 31 % 977} ms".encode(),
                     "attributes": {}, "trace_id": None, "span_id": None}

    def send(self, tenant, source, partition, events):
        record = {"tenant": tenant, "resource": {"app": tenant}, "source": source, "events": events}
        self.producer.produce(self.topic, encode(record), key=source.encode(), partition=partition,
                              on_delivery=self.told)

    def told(self, error, _message):
        if error:
            self.error = error

    def send_some(self):
        now = self.base
        for s in range(SOURCES):
            first = max(1, self.next[s] - self.random.randrange(60)) if self.random.random() < 0.1 else self.next[s]
            last = self.next[s] + self.random.randrange(80)
            events = [self.event(s, p, now) for p in range(first, last + 1)]
            self.outside += sum(old for old, e in events if e["position"] >= self.next[s])
            self.send("default", f"source{s}", s % 2, [e for _, e in events])
            self.next[s] = last + 1
        if self.random.random() < 0.3:
            self.bulk += 1
            self.send("bulk", "bulk", self.bulk % 2, [
                {"timestamp": now - (300 + self.random.randrange(50)) * DAY, "position": self.bulk * 30 + i, "severity": 0,
                 "body": self.random.randbytes(4000).hex().encode(), "attributes": {}, "trace_id": None,
                 "span_id": None} for i in range(30)])

    def run(self):
        self.base = time.time_ns()
        while not self.stopped.wait(0.04):
            self.send_some()
            self.producer.poll(0)

    def finish(self):
        self.stopped.set()
        self.join()
        self.flush()

    def flush(self):
        assert self.producer.flush(120) == 0
        assert not self.error, self.error

    @property
    def counted(self):
        return sum(self.next) - SOURCES - self.outside


def read_counters(address, totals, names=COUNTERS):
    """Adds what the server has done in this life; it may be too young to answer."""
    try:
        text = requests.get(f"http://{address}/metrics", timeout=1).text
    except requests.RequestException:
        return
    for line in text.splitlines():
        for name in names:
            if line.startswith(f"telescope_shard_{name}"):
                totals[name] += float(line.rsplit(" ", 1)[1])


def live(shard, r, sender, totals):
    """Lets the server live to a moment drawn at random: in the time after its start, or soon after it has done
    something for the so many-th time."""
    name, times = r.choice([(None, 0), (COUNTERS[0], 4), (COUNTERS[0], 12), ("merges_total", 4),
                            ("recoded_segments_total", 2), ("retention_days_total", 2)])
    wanted = 1 + r.randrange(times) if name else 0
    deadline = time.monotonic() + (LIFE_SECONDS if name else r.uniform(0.02, 1))
    done = Counter()
    while time.monotonic() < deadline and (not name or done[name] < wanted):
        now = Counter()
        read_counters(shard.admin, now)
        done = now or done
        sender.stopped.wait(0.02)
    sender.stopped.wait(r.uniform(0, 0.05))
    totals.update(done)


def ask(http, query):
    got = requests.post(f"http://{http}/select/logsql/query", data={"query": query, "timeout": "120s"}, timeout=130)
    assert got.status_code == 200, got.text[:500]
    return got


def count(http, query):
    """None while the answer is not whole."""
    try:
        got = ask(http, f"{query} | stats count() n")
    except (requests.RequestException, AssertionError):
        return None
    lines = got.text.splitlines()
    if "X-Telescope-Partial" in got.headers or len(lines) != 1:
        return None
    return int(lines[0].split('"')[3])


def check(http, sender):
    """Each id once, none of the old ones."""
    got = ask(http, "task | fields _msg")
    assert "X-Telescope-Partial" not in got.headers, got.headers["X-Telescope-Partial"]
    seen = Counter(line.split("task ", 1)[1].split(" ", 1)[0] for line in got.text.splitlines())
    wanted = {f"{s}-{p}" for s in range(SOURCES) for p in range(1, sender.next[s])
              if not sender.event(s, p, sender.base)[0]}
    assert len(wanted) == sender.counted
    twice = [i for i, n in seen.items() if n > 1]
    lost = wanted - seen.keys()
    assert not twice and not lost and not seen.keys() - wanted, (
        f"of {len(wanted)} events {len(lost)} are lost {sorted(lost)[:10]}, {len(twice)} are there more than once "
        f"{twice[:10]}, {len(seen.keys() - wanted)} are not known")
    poll_until(lambda: count(http, "old") == 0, 60, "an answer without events older than the retention", 0.2)


@pytest.mark.parametrize("kills", [KILLS])
def test_exactly_once_through_kills(kafka, procs, bin_dir, tmp_path, seed, kills):
    r = random.Random(seed)
    topic = create_topic(kafka.bootstrap, new_topic_name(), partitions=2)
    shard = ShardServer(procs, bin_dir, tmp_path, "shard", kafka.bootstrap, topic, "0-1", [
        "flush.rows=1000", "flush.interval=100ms", "flush.interval_max=150ms", "merge.quiet_after=200ms",
        f"retention.days={RETENTION_DAYS}", "cold.after_days=1", "memory.events=1MiB", "disk.reserve=1MiB",
        "retention.bytes=1MiB"])
    http = f"127.0.0.1:{free_port()}"
    config = tmp_path / "router.conf"
    config.write_text(f'shards = ( {{ address = "{shard.grpc}"; partitions = "0-1"; }} );\n', "utf-8")
    procs.start("router", [bin_dir / "telescope-router", "--config", config, "-o", f"http.listen={http}",
                           "-o", f"grpc.listen=127.0.0.1:{free_port()}"])
    sender = Sender(kafka.bootstrap, topic, seed)
    sender.start()
    totals = Counter()
    for _ in range(kills):
        # Room for all that is counted, and a little: the rest goes, the oldest days first.
        shard.process.argv[-1] = f"retention.bytes={(1 << 20) + 60 * sum(sender.next)}"
        shard.process.start()
        live(shard, r, sender, totals)
        assert shard.process.alive(), shard.process.log()[-4000:]
        shard.process.kill9()
        assert not sender.error and sender.is_alive(), sender.error
    sender.finish()
    shard.process.start()

    def all_there():
        n = count(http, "task")
        assert n is None or n <= sender.counted, f"{n} events, only {sender.counted} were sent"
        return n == sender.counted

    def wait_all():
        poll_until(all_there, 180, lambda: f"{sender.counted} events; there are {count(http, 'task')}", 0.2)
        check(http, sender)

    wait_all()

    def all_done():
        """In few lives something may not have happened, or not been told before the kill: then now."""
        now = Counter(totals)
        read_counters(shard.admin, now)
        if all(now[name] for name in COUNTERS):
            return now
        sender.send_some()
        sender.flush()
        return None

    killed = Counter(totals)
    totals = poll_until(all_done, 120, lambda: f"all of {COUNTERS}; {totals} before this life", 0.1)
    wait_all()
    kept = Counter()
    read_counters(shard.admin, kept, KEPT)
    assert kept["events_outside_total"] == sender.outside and kept["repeats_dropped_total"] > 0, (kept, sender.outside)
    shard.process.terminate(60)
    print(f"\n{kills} kills: {sender.counted} events, each once; {sender.outside} outside the retention, none found, each counted once; "
          f"{kept['repeats_dropped_total']:.0f} repeats dropped; "
          + ", ".join(f"{name} {killed[name]:.0f} and {totals[name] - killed[name]:.0f} in the last life" for name in COUNTERS))

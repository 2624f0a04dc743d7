"""Telescope's programs put together over a Kafka cluster: sidecars, shard servers, a router.

    stack = Stack(procs, bin_dir, tmp_path, bootstrap, topic, partitions=4)
    stack.start()
    stack.logs[0].append(1000)
    stack.wait_count(1000)
    stack.check_all()

Each log file belongs to one sidecar and is one source. Lines carry the file's tag and a number, so that
every line of the whole run can be told apart and put in order.
"""
import calendar
import json
import os
import re
import time
from collections import Counter
from pathlib import Path

import requests

from ports import free_port
from waiting import poll_until

LINE_ID = re.compile(r"id=(\w+)-(\d+)")


class LogFile:
    """A log that a test writes: lines `... id=TAG-NUMBER ...`, numbered from 0."""

    def __init__(self, path, tag):
        self.path = Path(path)
        self.tag = tag
        self.count = 0
        self._file = open(self.path, "ab")

    def append(self, lines):
        start = self.count
        text = "".join(
            f"level={'ERROR' if n % 97 == 0 else 'INFO'} tag={self.tag} id={self.tag}-{n} GET /api/v1/items/{n * 7919 % 100003} "
            f"status={200 if n % 13 else 500} took {n * 31 % 977} ms\n" for n in range(start, start + lines))
        self._file.write(text.encode())
        self._file.flush()
        self.count += lines

    def rotate(self):
        """Renames the file and goes on in a new one, as logrotate does."""
        self._file.close()
        os.rename(self.path, f"{self.path}.1")
        self._file = open(self.path, "ab")

    def close(self):
        self._file.close()


class Query:
    """The HTTP face of a router or of standalone."""

    def __init__(self, address):
        self.url = f"http://{address}"

    def rows(self, query, timeout=120, **args):
        """(rows, what is missing or None). Raises on an answer that is cut or refused."""
        got = requests.post(f"{self.url}/select/logsql/query", data={"query": query, "timeout": f"{timeout}s", **args},
                            timeout=timeout + 10, stream=True)
        if got.status_code != 200:
            raise requests.HTTPError(f"{got.status_code} {got.text[:500]}")
        rows = [json.loads(line) for line in got.iter_lines(chunk_size=1 << 16) if line]
        if rows and "_error" in rows[-1]:
            raise requests.HTTPError(str(rows[-1]))
        return rows, got.headers.get("X-Telescope-Partial")

    def count(self, query="*", timeout=30):
        """The number of matching events, or None when the answer is not to be had or not whole."""
        try:
            rows, missing = self.rows(f"{query} | stats count() n", timeout)
        except (requests.RequestException, ValueError):
            return None
        if missing or len(rows) != 1:
            return None
        return int(rows[0]["n"])


def quoted(text):
    return json.dumps(str(text))


class Stack:
    def __init__(self, procs, bin_dir, folder, bootstrap, topic, partitions=4, sidecars=2, shards=2, files=4,
                 shard_extra=""):
        self.bin = Path(bin_dir)
        self.folder = Path(folder)
        self.topic = topic
        self.dead_letters = f"{topic}.dead"
        self.partitions = partitions
        self.logs = []
        self.sidecars, self.shards = [], []
        self.admins = {}
        for i in range(sidecars):
            where = self.folder / f"logs{i}"
            where.mkdir(parents=True)
            self.logs += [LogFile(where / f"f{n}.log", f"s{i}f{n}") for n in range(files)]
            self.sidecars.append(procs.make(f"sidecar{i}", self._sidecar(i, where, bootstrap)))
        grpc = []
        per = partitions // shards
        for i in range(shards):
            span = f"{i * per}-{(i + 1) * per - 1 if i < shards - 1 else partitions - 1}"
            grpc.append((f"127.0.0.1:{free_port()}", span))
            self.shards.append(procs.make(f"shard{i}", self._shard(i, bootstrap, *grpc[-1], shard_extra)))
        http = f"127.0.0.1:{free_port()}"
        self.router = procs.make("router", self._router(http, grpc))
        self.query = Query(http)

    # -- configurations --

    def _config(self, name, text):
        path = self.folder / f"{name}.conf"
        path.write_text(text, encoding="utf-8")
        return path

    def _admin(self, name):
        self.admins[name] = f"127.0.0.1:{free_port()}"
        return self.admins[name]

    def _sidecar(self, i, where, bootstrap):
        name = f"sidecar{i}"
        config = self._config(name, f"""
id = "sc{i}";
data = {{ dir = {quoted(self.folder / name)}; }};
kafka = {{ brokers = "{bootstrap}"; topic = "{self.topic}"; linger = "2ms"; }};
batch = {{ max_events = 500; }};
checkpoint = {{ interval = "200ms"; }};
admin = {{ listen = "{self._admin(name)}"; }};
inputs = ( {{ plugin = "tail"; name = "t"; paths = [ {quoted(str(where) + "/*.log*")} ]; labels = {{ app = "load"; }}; }} );
""")
        return [self.bin / "telescope-sidecar", "--config", config]

    def _shard(self, i, bootstrap, listen, span, extra):
        name = f"shard{i}"
        config = self._config(name, f"""
node = "{name}";
partitions = [ "{span}" ];
data = {{ dir = {quoted(self.folder / name)}; }};
kafka = {{ brokers = "{bootstrap}"; topic = "{self.topic}"; dead_letter_topic = "{self.dead_letters}"; }};
grpc = {{ listen = "{listen}"; }};
admin = {{ listen = "{self._admin(name)}"; }};
flush = {{ rows = 5000; interval = "500ms"; interval_max = "2s"; }};
disk = {{ reserve = "1MiB"; }};
{extra}
""")
        return [self.bin / "telescope-shard", "--config", config]

    def _router(self, http, grpc):
        shards = ", ".join(f'{{ address = "{a}"; partitions = "{s}"; }}' for a, s in grpc)
        config = self._config("router", f"""
http = {{ listen = "{http}"; }};
grpc = {{ listen = "127.0.0.1:{free_port()}"; }};
shards = ( {shards} );
""")
        return [self.bin / "telescope-router", "--config", config]

    # -- life --

    @property
    def programs(self):
        return [*self.sidecars, *self.shards, self.router]

    def start(self):
        for p in self.programs:
            p.start()
        return self

    def stop(self):
        """SIGTERM to each; each must exit 0."""
        for p in [*self.sidecars, self.router, *self.shards]:
            p.terminate(30)

    @property
    def written(self):
        return sum(f.count for f in self.logs)

    def metric(self, program, name):
        """The sum of a metric over its labels, from a program's admin address; None when it does not answer."""
        try:
            text = requests.get(f"http://{self.admins[program]}/metrics", timeout=5).text
        except requests.RequestException:
            return None
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                  if re.match(rf"{name}(\{{|\s)", line)]
        return sum(values) if values else None

    # -- verdicts --

    def wait_count(self, total, seconds=60):
        """Until exactly `total` events are found. More than that is a failure at once."""
        def look():
            n = self.query.count()
            assert n is None or n <= total, f"{n} events found, only {total} were written"
            return n == total

        poll_until(look, seconds, lambda: f"{total} events; {self.query.count()} are found", 0.25)

    def check_all(self):
        """Every line that was written is found exactly once, and in order within its source."""
        for log in self.logs:
            rows, missing = self.query.rows(f"tag={log.tag} | sort by (_time) | fields _time, _msg")
            assert not missing, missing
            check_rows(rows, log.tag, log.count)
        return self.written


def nanoseconds(text):
    """RFC 3339 in UTC, with up to nine digits behind the point."""
    whole, _, part = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int((part or "0").ljust(9, "0"))


def check_rows(rows, tag, count, ordered=True):
    """rows: of one source, sorted by time, ties in the queue's order."""
    numbers, times = [], []
    for row in rows:
        m = LINE_ID.search(row["_msg"])
        assert m and m.group(1) == tag, row
        numbers.append(int(m.group(2)))
        times.append(nanoseconds(row["_time"]))
    seen = Counter(numbers)
    twice = [n for n, k in seen.items() if k > 1]
    lost = [n for n in range(count) if n not in seen]
    assert not twice and not lost and len(seen) == count, (
        f"{tag}: of {count} lines {len(lost)} are lost {lost[:10]}, {len(twice)} are there twice {twice[:10]}")
    if not ordered:
        return
    assert times == sorted(times), f"{tag}: rows are not in time order"
    wrong = [(a, b) for a, b in zip(numbers, numbers[1:]) if b != a + 1]
    assert not wrong, f"{tag}: {len(wrong)} lines out of order, first {wrong[:5]}"


def paced(total_seconds):
    """Yields the share of the time that has passed, from 0 to 1, every 50 ms."""
    begin = time.monotonic()
    while True:
        share = min(1.0, (time.monotonic() - begin) / total_seconds)
        yield share
        if share >= 1.0:
            return
        time.sleep(0.05)

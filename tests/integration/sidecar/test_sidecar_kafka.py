"""Files to a real Kafka through kills, rotation and a broker that goes away."""
import os
import random

import pytest

import sidecar
from topics import create_topic, grow_topic, new_topic_name, read_topic, topic_end
from waiting import poll_until


class Writer:
    """Applications that write numbered lines, and rotate their files."""

    def __init__(self, folder, rnd, files=3):
        folder.mkdir()
        self.folder, self.rnd, self.number, self.rotations = folder, rnd, 0, 0
        self.files = [folder / f"app{i}.log" for i in range(files)]

    def write(self, lines):
        for _ in range(lines):
            path = self.rnd.choice(self.files)
            with open(path, "ab") as f:
                for _ in range(self.rnd.randrange(1, 40)):
                    filler = "x" * self.rnd.randrange(0, 200)
                    f.write(f"2026-01-02T03:04:05Z id={self.number} {filler}\n".encode())
                    self.number += 1

    def rotate(self):
        path = self.rnd.choice(self.files)
        if path.exists():
            self.rotations += 1
            path.rename(path.with_name(f"{path.name}.{self.rotations}"))


def numbers_of(events):
    return [int(e["body"].split(b"id=")[1].split(b" ")[0]) for e in events]


def all_there(bootstrap, topic, writer):
    sources, repeats = sidecar.read_events(bootstrap, topic)
    seen = [n for events in sources.values() for n in numbers_of(events)]
    for name, events in sources.items():
        numbers = numbers_of(events)
        assert numbers == sorted(numbers), f"{name} is out of order"
    assert len(seen) == len(set(seen)), "a line has come twice, under two sources or positions"
    return len(seen) == writer.number and (sources, repeats)


def test_nothing_is_lost_when_killed(kafka, topic, procs, bin_dir, tmp_path, seed):
    rnd = random.Random(seed)
    writer = Writer(tmp_path / "apps", rnd)
    config = sidecar.write_config(tmp_path / "sidecar.conf", tmp_path / "data", [tmp_path / "apps/*.log*"],
                                  bootstrap=kafka.bootstrap, topic=topic)
    p = sidecar.start(procs, bin_dir, config, wait=False)
    kills = end = 0
    for _ in range(12):
        for _ in range(rnd.randrange(1, 6)):
            writer.write(rnd.randrange(1, 150))
            if rnd.random() < 0.4:
                writer.rotate()
        end += rnd.randrange(2)  # at once, or when some of it has arrived
        end = poll_until(lambda: (now := topic_end(kafka.bootstrap, topic)) >= end and now + 1, 120, "a message more") - 1
        p.kill9()
        kills += 1
        p.start()
    sources, repeats = poll_until(lambda: all_there(kafka.bootstrap, topic, writer), 180,
                                  lambda: f"all {writer.number} lines", interval=1)
    p.terminate()
    assert len(sources) <= len(writer.files) + writer.rotations
    print(f"{writer.number} lines, {writer.rotations} rotations, {kills} kills, {len(sources)} sources, "
          f"{repeats} repeats dropped")


def test_a_broker_that_goes_away(own_kafka, procs, bin_dir, tmp_path, seed):
    rnd = random.Random(seed)
    topic = create_topic(own_kafka.bootstrap, new_topic_name())
    writer = Writer(tmp_path / "apps", rnd)
    config = sidecar.write_config(tmp_path / "sidecar.conf", tmp_path / "data", [tmp_path / "apps/*.log*"],
                                  bootstrap=own_kafka.bootstrap, topic=topic)
    own_kafka.kill9(0)  # absent at the start
    p = sidecar.start(procs, bin_dir, config)
    writer.write(50)
    own_kafka.start_broker(0)
    for _ in range(2):
        end = topic_end(own_kafka.bootstrap, topic)
        writer.write(100)
        poll_until(lambda: topic_end(own_kafka.bootstrap, topic) > end, 120, "a message more")
        own_kafka.kill9(0)
        writer.write(100)
        writer.rotate()
        own_kafka.start_broker(0)
    poll_until(lambda: all_there(own_kafka.bootstrap, topic, writer), 180,
               lambda: f"all {writer.number} lines", interval=1)
    p.terminate()


def test_lines_that_the_broker_finds_too_large(kafka, topic, procs, bin_dir, tmp_path):
    """One mebibyte that does not compress is more than a broker takes by default: it arrives in pieces."""
    (tmp_path / "apps").mkdir()
    line = os.urandom(1 << 20).replace(b"\n", b"\0")
    (tmp_path / "apps/a.log").write_bytes(b"before\n" + line + b"\nafter\n")
    config = sidecar.write_config(tmp_path / "sidecar.conf", tmp_path / "data", [tmp_path / "apps/*.log"],
                                  bootstrap=kafka.bootstrap, topic=topic, options="skip_binary = false;")
    p = sidecar.start(procs, bin_dir, config)

    def whole():
        sources, _ = sidecar.read_events(kafka.bootstrap, topic)
        events = [e for v in sources.values() for e in v]
        return events if events and events[-1]["body"] == b"after" else None

    events = poll_until(whole, 40, "the last line", interval=0.5)
    p.terminate()
    assert events[0]["body"] == b"before"
    assert b"".join(e["body"] for e in events[1:-1]) == line
    if len(events) > 3:
        assert all("telescope.split" in e["attributes"] for e in events[1:-1])


def test_labels_and_times(kafka, topic, procs, bin_dir, tmp_path):
    (tmp_path / "apps").mkdir()
    path = tmp_path / "apps/a.log"
    path.write_bytes(b"2026-01-02T03:04:05.5Z first\n  goes on\n")
    config = sidecar.write_config(tmp_path / "sidecar.conf", tmp_path / "data", [tmp_path / "apps/*.log"],
                                  bootstrap=kafka.bootstrap, topic=topic, more='host = "node-1";',
                                  labels='app = "shop"; env = "${env:TEST_ENV}";')
    p = procs.start("sidecar", [bin_dir / "telescope-sidecar", "--config", config], env={"TEST_ENV": "prod"})
    p.wait_line("running")

    def both():
        sources, _ = sidecar.read_events(kafka.bootstrap, topic)
        events = [e for v in sources.values() for e in v]
        return events if len(events) == 2 else None

    events = poll_until(both, 20, "two lines", interval=0.3)
    for e in events:
        assert e["resource"] == {"app": "shop", "env": "prod", "host": "node-1", "file": str(path)}
        assert e["timestamp"] == 1767323045500000000  # a line without a time belongs to the one before
    status, text = sidecar.admin(p, "/connectors/files/status")
    assert status == 200 and '"state":"RUNNING"' in text
    assert sidecar.admin(p, "/readyz")[0] == 200
    assert 'telescope_sidecar_events_delivered_total{input="files"} 2' in sidecar.admin(p, "/metrics")[1]
    p.terminate()


def test_a_topic_that_grows(kafka, procs, bin_dir, tmp_path):
    """Sources stay in the partitions that they have; new ones use the new partitions too."""
    topic = create_topic(kafka.bootstrap, new_topic_name(), partitions=1)
    (tmp_path / "apps").mkdir()
    config = sidecar.write_config(tmp_path / "sidecar.conf", tmp_path / "data", [tmp_path / "apps/*.log"],
                                  bootstrap=kafka.bootstrap, topic=topic)
    for i in range(10):
        (tmp_path / f"apps/old{i}.log").write_text(f"old {i}\n", encoding="utf-8")
    p = sidecar.start(procs, bin_dir, config)
    poll_until(lambda: len(sidecar.read_events(kafka.bootstrap, topic, 1)[0]) == 10, 20, "ten sources", 0.3)
    p.terminate()
    grow_topic(kafka.bootstrap, topic, 8)
    for i in range(10):
        (tmp_path / f"apps/new{i}.log").write_text(f"new {i}\n", encoding="utf-8")
        with open(tmp_path / f"apps/old{i}.log", "a", encoding="utf-8") as f:
            f.write(f"old {i} again\n")
    p.start()

    def all_of_it():  # read_events fails if a source is in two partitions
        sources, _ = sidecar.read_events(kafka.bootstrap, topic, 8)
        return sum(len(v) for v in sources.values()) == 30 and sources

    sources = poll_until(all_of_it, 20, "thirty lines", 0.3)
    assert len(sources) == 20
    p.terminate()
    used = [len(m) for m in read_topic(kafka.bootstrap, topic, 8)]
    assert sum(1 for n in used[1:] if n) >= 2, used


if __name__ == "__main__":
    pytest.main([__file__])

"""Every process is killed in turn while lines are written, and the broker too; every line is found
exactly once, in order within its source.

2 sidecars with 4 files each, 4 partitions, 2 shard servers, a router; over one broker, and over three
that replicate. TEL_CRASH_LINES lines in all
(default 500000), TEL_CRASH_ROUNDS rounds of kills (default 2).
"""
import os
import random
import threading
import time

import pytest

from stack import Stack, paced
from topics import create_topic, read_topic
from waiting import poll_until

LINES = int(os.environ.get("TEL_CRASH_LINES", "500000"))
ROUNDS = int(os.environ.get("TEL_CRASH_ROUNDS", "2"))


class Writer(threading.Thread):
    """Appends lines to all logs at a steady pace until all are written, in chunks of random size."""

    def __init__(self, logs, lines, seconds, seed):
        super().__init__(daemon=True)
        self.logs, self.lines, self.seconds = logs, lines, seconds
        self.random = random.Random(seed)
        self.error = None

    def progress(self, seconds):
        """Waits until it has written as much as it means to write in so many seconds, or all."""
        wanted = sum(log.count for log in self.logs) + seconds / self.seconds * self.lines
        poll_until(lambda: not self.is_alive() or sum(log.count for log in self.logs) >= wanted, 300,
                   f"{wanted:.0f} lines written")

    def run(self):
        try:
            each = self.lines // len(self.logs)
            for share in paced(self.seconds):
                for log in self.logs:
                    due = int(each * share) - log.count
                    if due > 0 and (share >= 1.0 or self.random.random() < 0.7):
                        log.append(due)
        except BaseException as e:  # the test tells it
            self.error = e


def kill_in_turn(stack, cluster, r, writer, rounds):
    """Kills each process `rounds` times, in random order; each stays down for a random number of lines."""
    kills = []
    for _ in range(rounds):
        victims = [*stack.programs, *range(cluster.brokers)]
        r.shuffle(victims)
        for victim in victims:
            down = r.choice([0.0, 0.0, 0.2, 1.0, 2.0])
            if isinstance(victim, int):
                cluster.kill9(victim)
                writer.progress(down)
                cluster.start_broker(victim)
                kills.append(f"broker{victim}")
            else:
                victim.kill9()
                writer.progress(down)
                victim.start()
                kills.append(victim.name)
            writer.progress(r.uniform(0.1, 1.5))
    assert not writer.error, writer.error
    return kills


def topic_lines(cluster, topic, partitions):
    return sum(len(p) for p in read_topic(cluster.bootstrap, topic, partitions))


def crash_run(cluster, procs, bin_dir, tmp_path, seed, lines, rounds):
    r = random.Random(seed)
    topic = create_topic(cluster.bootstrap, "telescope.logs", partitions=4, replication=min(3, cluster.brokers))
    stack = Stack(procs, bin_dir, tmp_path, cluster.bootstrap, topic).start()
    begin = time.monotonic()
    # A kill takes about 1.5 s, a broker's some seconds more: write for most of that time.
    writer = Writer(stack.logs, lines, rounds * (len(stack.programs) * 1.6 + 6 * cluster.brokers), seed)
    writer.start()
    kills = kill_in_turn(stack, cluster, r, writer, rounds)
    writer.join()
    assert not writer.error, writer.error
    total = stack.written
    written = time.monotonic() - begin
    stack.wait_count(total, 240)
    found = time.monotonic() - begin
    assert stack.check_all() == total
    messages = topic_lines(cluster, topic, 4)

    stack.stop()  # an orderly end loses and repeats nothing either
    for p in [*stack.shards, stack.router]:
        p.start()
    poll_until(lambda: stack.query.count() is not None, 60, "an answer after the restart", 0.2)
    stack.wait_count(total, 30)
    assert stack.check_all() == total
    print(f"\nseed {seed}: {total} lines in {len(stack.logs)} files, {len(kills)} kills ({' '.join(kills)}); "
          f"written in {written:.0f} s, all found after {found:.0f} s, in {messages} messages")


@pytest.mark.kafka(heap_mb=384)
def test_every_line_once_though_everything_is_killed(own_kafka, procs, bin_dir, tmp_path, seed):
    crash_run(own_kafka, procs, bin_dir, tmp_path, seed, LINES, ROUNDS)


@pytest.mark.kafka(brokers=3, heap_mb=256)
def test_the_same_over_three_brokers(own_kafka, procs, bin_dir, tmp_path, seed):
    """Leaders move while programs die; each partition is on three brokers, two of them must have a message."""
    crash_run(own_kafka, procs, bin_dir, tmp_path, seed, LINES // 4, 1)

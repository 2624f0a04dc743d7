"""The test library itself: processes, ports, brokers. A harness that cannot fail proves nothing."""
import sys

import pytest
from confluent_kafka import Producer

from ports import free_ports
from proc import Processes
from topics import create_topic, delete_topic, read_topic
from waiting import Late, poll_until

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
POLITE = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); print('up 42', flush=True); time.sleep(60)"


def test_a_process_is_watched_and_restarted(procs):
    p = procs.start("polite", [sys.executable, "-c", POLITE])
    assert p.wait_line(r"up (\d+)", 10).group(1) == "42"
    p.kill9()
    assert not p.alive()
    p.start()
    p.wait_line("up", 10)
    p.terminate(10)
    assert p.starts == 2


def test_a_process_that_ends_early_is_told(procs):
    p = procs.start("early", [sys.executable, "-c", "print('oh no'); raise SystemExit(3)"])
    with pytest.raises(AssertionError, match="ended with 3.*oh no|oh no"):
        p.wait_line("never", 10)
    assert p.wait_exit() == 3


@pytest.mark.parametrize("report", ["==7==ERROR: AddressSanitizer: heap-use-after-free on", "WARNING: ThreadSanitizer: data race",
                                    "==7==ERROR: LeakSanitizer: detected memory leaks", "a/b.c:12:7: runtime error: shift"])
def test_a_report_of_a_sanitizer_fails_the_test(tmp_path, report):
    p = Processes(tmp_path / "own")
    child = p.start("reports", [sys.executable, "-c", f"print({report!r}, flush=True)"])
    assert child.wait_exit() == 0
    with pytest.raises(AssertionError, match="reports: a sanitizer's report"):
        p.end()
    with Processes(tmp_path / "quiet") as p:
        p.start("quiet", [sys.executable, "-c", "print('a sanitizer is ready; runtime error: none')"]).wait_exit()


def test_waiting_is_late_with_the_log(procs):
    p = procs.start("polite", [sys.executable, "-c", POLITE])
    p.wait_line("up", 10)
    with pytest.raises(Late, match="up 42"):
        p.wait_line("never", 0.3)


def test_all_are_ended_even_the_stubborn(tmp_path):
    procs = Processes(tmp_path)
    with pytest.raises(ZeroDivisionError), procs:
        p = procs.start("stubborn", [sys.executable, "-c", STUBBORN])
        p.wait_line("up", 10)
        raise ZeroDivisionError
    assert not p.alive()


def test_ports_differ():
    ports = free_ports(50)
    assert len(set(ports)) == 50


def test_poll_until_gives_what_it_found():
    assert poll_until(lambda: 7, 1, "seven") == 7
    with pytest.raises(Late, match="pigs fly"):
        poll_until(lambda: None, 0.1, "pigs fly")


def produce(bootstrap, topic, values, partition=0):
    p = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for v in values:
        p.produce(topic, v, partition=partition)
    assert p.flush(30) == 0


def test_shared_kafka_takes_and_gives(kafka, topic):
    produce(kafka.bootstrap, topic, [b"a", b"b"], partition=2)
    got = read_topic(kafka.bootstrap, topic, 4)
    assert [[m.value() for m in p] for p in got] == [[], [], [b"a", b"b"], []]
    delete_topic(kafka.bootstrap, topic)


def test_a_broker_is_killed_and_comes_back(own_kafka):
    topic = create_topic(own_kafka.bootstrap, "t", partitions=1)
    produce(own_kafka.bootstrap, topic, [b"kept"])
    own_kafka.kill9(0)
    assert not own_kafka.alive(0)
    own_kafka.start_broker(0)
    assert [m.value() for m in read_topic(own_kafka.bootstrap, topic, 1)[0]] == [b"kept"]
    own_kafka.kill9(0)
    own_kafka.wipe_broker(0)  # and comes back empty
    own_kafka.start_broker(0)
    create_topic(own_kafka.bootstrap, "t", partitions=1)
    assert read_topic(own_kafka.bootstrap, "t", 1) == [[]]


@pytest.mark.kafka(brokers=3, heap_mb=256)
def test_three_brokers_survive_one(own_kafka):
    topic = create_topic(own_kafka.bootstrap, "t", partitions=3, replication=3)
    own_kafka.kill9(1)
    for p in range(3):
        produce(own_kafka.bootstrap, topic, [b"x%d" % p], partition=p)
    own_kafka.start_broker(1)
    assert [[m.value() for m in p] for p in read_topic(own_kafka.bootstrap, topic, 3)] == [[b"x0"], [b"x1"], [b"x2"]]

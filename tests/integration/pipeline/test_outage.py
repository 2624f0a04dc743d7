"""Kafka absent at the start, gone for a while, and come back without its data."""
import pytest
import requests

from kafka_cluster import Cluster
from stack import Stack
from topics import create_topic, read_topic
from waiting import poll_until


@pytest.fixture
def absent_kafka(tmp_path):
    cluster = Cluster(tmp_path / "kafka")
    cluster.format()
    try:
        yield cluster
    finally:
        cluster.stop()


def append(stack, lines):
    for log in stack.logs:
        log.append(lines)


def test_kafka_absent_gone_and_empty(absent_kafka, procs, bin_dir, tmp_path):
    cluster = absent_kafka
    stack = Stack(procs, bin_dir, tmp_path, cluster.bootstrap, "telescope.logs", files=2).start()
    append(stack, 500)

    # Absent: everything runs and answers, and the shards say that they are not ready.
    poll_until(lambda: stack.query.count() == 0, 30, "an answer while Kafka is absent", 0.2)
    assert all(p.alive() for p in stack.programs)
    for name in ("shard0", "shard1"):
        assert requests.get(f"http://{stack.admins[name]}/healthz", timeout=5).status_code == 200
        assert requests.get(f"http://{stack.admins[name]}/readyz", timeout=5).status_code == 503
    for sidecar in stack.sidecars:
        sidecar.wait_line("[Kk]afka", 10)  # and the sidecars say what they wait for

    cluster.start()
    create_topic(cluster.bootstrap, "telescope.logs", partitions=4)
    stack.wait_count(stack.written, 60)
    for name in ("shard0", "shard1"):
        poll_until(lambda n=name: requests.get(f"http://{stack.admins[n]}/readyz", timeout=5).status_code == 200, 20,
                   f"{name} ready")

    # Gone for a while: lines wait in their files.
    cluster.kill9(0)
    append(stack, 500)
    cluster.start_broker(0)
    stack.wait_count(stack.written, 60)
    stack.check_all()

    # Back without its data: a gap is reported for every partition that had some, nothing that was indexed is
    # lost or twice, and what is new comes.
    used = [p for p, messages in enumerate(read_topic(cluster.bootstrap, "telescope.logs", 4)) if messages]
    cluster.kill9(0)
    cluster.wipe_broker(0)
    cluster.start_broker(0)
    create_topic(cluster.bootstrap, "telescope.logs", partitions=4)
    append(stack, 500)
    for p in used:
        stack.shards[p // 2].wait_line(rf"messages are missing from the queue partition={p} ", 90)
    stack.wait_count(stack.written, 90)
    stack.check_all()
    stack.stop()

"""`telescope-shard snapshot` of a running server, `restore` of it, and a server that goes on from there."""
import os
import shutil
import signal
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

from shards import SECOND, START_NS, ShardCluster
from waiting import poll_until


def run(bin_dir, *args, expect=0):
    done = subprocess.run([bin_dir / "telescope-shard", *map(str, args)], capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == expect, (args, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def batches(first, count):
    """One batch a partition: numbered events over three days."""
    out = []
    for partition in (0, 1):
        events = [(START_NS + n % 3 * 86400 * SECOND + n * 1000, f"task p{partition}-{n} " + "x" * (n % 50), {})
                  for n in range(first, first + count)]
        out.append((partition, f"s{partition}-{first}", {"app": "load"}, events))
    return out


@pytest.fixture
def cluster(procs, bin_dir, tmp_path, kafka, topic):
    return ShardCluster(procs, bin_dir, tmp_path, kafka.bootstrap, topic, ["0-1"],
                        shard_options=["flush.interval=200ms", "flush.interval_max=300ms", "flush.rows=2000"]).start()


def check_once(cluster, total):
    rows = cluster.query("task | fields _msg", limit=2 * total)
    words = sorted(row["_msg"].split()[1] for row in rows)
    assert words == sorted(f"p{p}-{n}" for p in (0, 1) for n in range(total // 2))


def stored(cluster):
    text = cluster.get(cluster.shards[0].admin, "/metrics")[2].decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("telescope_shard_segments{"))


def test_snapshot_restore_go_on(cluster, bin_dir, tmp_path):
    shard = cluster.shards[0]
    for i in range(10):
        cluster.produce(batches(i * 500, 500))
    cluster.wait_indexed(10000)
    poll_until(lambda: stored(cluster) > 0, 20, "segments")
    admin = f"http://{shard.admin}"
    # While more comes: snapshots, each of which must do.
    writer = threading.Thread(target=lambda: [cluster.produce(batches(5000 + i * 100, 100)) for i in range(50)])
    writer.start()
    snaps = [tmp_path / f"snap{i}" for i in range(3)]
    for snap in snaps:
        said = run(bin_dir, "snapshot", "--admin", admin, snap)
        assert said.splitlines()[-1].startswith(f"done {snap}: 2 partitions, "), said
    one = tmp_path / "one"
    assert "1 partitions" in run(bin_dir, "snapshot", "--admin", admin, "--partition", 1, one)
    assert "there already" in run(bin_dir, "snapshot", "--admin", admin, one, expect=1)
    assert "not held" in run(bin_dir, "snapshot", "--admin", admin, "--partition", 7, tmp_path / "seven", expect=1)
    assert not list(tmp_path.glob("*.partial"))
    writer.join()
    total = 20000
    cluster.wait_indexed(total)
    check_once(cluster, total)
    shard.process.kill9()
    data = tmp_path / "shard0"
    for snap in snaps:
        shutil.rmtree(data)
        said = run(bin_dir, "restore", snap, "--data", data)
        assert "partition 1: " in said, said
        assert "nothing is overwritten" in run(bin_dir, "restore", snap, "--data", data, expect=1)
        assert " 0 damaged, 0 events twice" in run(bin_dir, "verify", data)
        shard.process.start()
        cluster.wait_ready(shard.process)
        cluster.wait_indexed(total)
        check_once(cluster, total)
        shard.process.kill9()
    # A partition of one snapshot, the other of another.
    shutil.rmtree(data)
    run(bin_dir, "restore", one, "--data", data)
    run(bin_dir, "restore", snaps[2], "--data", data, "--partition", 0)
    shard.process.start()
    cluster.wait_ready(shard.process)
    cluster.wait_indexed(total)
    check_once(cluster, total)
    shard.process.terminate()
    run(bin_dir, "verify", data)


def test_given_up(cluster, bin_dir, tmp_path, procs):
    """The client goes, the server stops, the server is killed: nothing of that name is there."""
    shard = cluster.shards[0]
    for i in range(8):
        cluster.produce(batches(i * 2500, 2500))
    cluster.wait_indexed(40000)
    poll_until(lambda: stored(cluster) >= 6, 30, "segments")
    snap, partial = tmp_path / "slow", tmp_path / "slow.partial"
    command = [bin_dir / "telescope-shard", "snapshot", "--admin", f"http://{shard.admin}", "--rate", "5KB", str(snap)]
    client = procs.start("client", command)
    poll_until(partial.exists, 20, "the snapshot has begun")
    assert "another snapshot" in run(bin_dir, "snapshot", "--admin", f"http://{shard.admin}", tmp_path / "b", expect=1)
    client.kill9()
    poll_until(lambda: not partial.exists(), 30, "it is given up")
    client.start()
    poll_until(partial.exists, 20, "the snapshot has begun again")
    os.kill(shard.process.pid, signal.SIGTERM)
    poll_until(lambda: not shard.process.alive(), 30, "the server has ended")
    assert not partial.exists() and not snap.exists()
    poll_until(lambda: not client.alive(), 20, "the client has noticed")
    shard.process.start()
    cluster.wait_ready(shard.process)
    client.start()
    poll_until(partial.exists, 20, "and again")
    shard.process.kill9()
    assert "no whole snapshot" in run(bin_dir, "restore", partial, "--data", tmp_path / "x", expect=1)
    shard.process.start()
    cluster.wait_ready(shard.process)
    poll_until(lambda: not client.alive(), 20, "the client has noticed")
    run(bin_dir, "snapshot", "--admin", f"http://{shard.admin}", snap)  # what was left is in nobody's way
    assert not partial.exists()
    run(bin_dir, "restore", snap, "--data", tmp_path / "y")


def test_refusals(cluster, bin_dir, tmp_path):
    admin = f"http://{cluster.shards[0].admin}"

    def post(query, headers):
        request = urllib.request.Request(f"{admin}/snapshot?{query}", data=b"", headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as r:
                return r.status, r.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()
    asked = {"X-Telescope-Admin": "1"}
    assert post(f"dest={tmp_path}/s", {})[0] == 403  # what a web page could send
    assert post("", asked)[0] == 400
    assert post("dest=relative", asked)[0] == 400
    assert post(f"dest={tmp_path}/s&rate=x", asked)[0] == 400
    assert post(f"dest={tmp_path}/s&partition=-1", asked)[0] == 400
    status, body = post("dest=/proc/nowhere/s", asked)
    assert status == 200 and body.startswith(b"error ")
    assert not (tmp_path / "s").exists()
    for args in ([], ["--nonsense", "x"], ["a", "b"], ["--rate", "x", "a"], ["--data", "x", "a"]):
        assert "usage" in run(bin_dir, "snapshot", *args, expect=2)
    for args in ([], ["a"], ["a", "--data"], ["--data", "x"], ["a", "--data", "x", "--partition", "y"]):
        assert "usage" in run(bin_dir, "restore", *args, expect=2)
    assert "usage" in run(bin_dir, "verify", expect=2)
    for command in ("snapshot", "restore", "verify"):
        assert "usage" in run(bin_dir, command, "--help")
    run(bin_dir, "snapshot", "--admin", "http://127.0.0.1:1", tmp_path / "s", expect=1)

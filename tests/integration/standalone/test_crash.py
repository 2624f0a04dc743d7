"""kill -9 at random moments: what was acknowledged is there exactly once, what a file held too."""
import os
import random
import subprocess
import threading
import time

import pytest

from standalone import Standalone
from waiting import poll_until

INSERTERS = 4
ROUNDS = 6
LINES = int(os.environ.get("TEL_CRASH_LINES", "500000"))  # of the tailed files, all together
FILES = 10


def test_inserts_survive_kill9(procs, bin_dir, tmp_path, seed):
    rnd = random.Random(seed)
    s = Standalone(procs, bin_dir, tmp_path / "data").start()
    lock, stop = threading.Lock(), threading.Event()
    sent, acked = set(), set()

    def insert(number):
        mine = random.Random(seed * 100 + number)
        i = 0
        while not stop.is_set():
            ids = [f"id{number}x{i + k}" for k in range(mine.randrange(1, 200))]
            i += len(ids)
            with lock:
                sent.update(ids)
            if s.insert([{"_msg": f"event {x}", "id": x, "app": f"a{number % 2}"} for x in ids], _stream_fields="app"):
                with lock:
                    acked.update(ids)
            else:
                stop.wait(0.02)

    threads = [threading.Thread(target=insert, args=(n,)) for n in range(INSERTERS)]
    for t in threads:
        t.start()
    for _ in range(ROUNDS):
        before = len(acked)
        poll_until(lambda: len(acked) >= before + rnd.randrange(200, 3000), 30, "progress")
        s.kill9()
        s.start()
    stop.set()
    for t in threads:
        t.join()
    s.wait_count("*", len(acked), seconds=30)
    found = [r["id"] for r in s.query("* | fields id")]
    print(f"TEL_SEED={seed}: {len(sent)} sent, {len(acked)} acknowledged, {len(found)} found, {ROUNDS} kills")
    assert len(found) == len(set(found)), "something is there twice"
    assert acked <= set(found), f"{len(acked - set(found))} acknowledged events are missing"
    assert set(found) <= sent
    s.stop()


def test_tailed_files_survive_kill9(procs, bin_dir, tmp_path, seed):
    rnd = random.Random(seed)
    logs = tmp_path / "app"
    logs.mkdir()
    s = Standalone(procs, bin_dir, tmp_path / "data", tail=[str(logs / "*.log")]).start()
    total = LINES // FILES * FILES
    per_file = total // FILES
    done = threading.Event()

    def write():
        mine = random.Random(seed)
        for f in range(FILES):
            with open(logs / f"{f}.log", "w", encoding="ascii", buffering=4096) as out:
                for i in range(per_file):
                    out.write(f"{f * per_file + i:08d} line of file {f} with some text {mine.randrange(1 << 30)}\n")
                    if i % 1000 == 0:
                        time.sleep(0.01)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    kills = 0
    while not done.is_set() or kills < 6:
        done.wait(rnd.uniform(0.2, 1.5))
        s.kill9()
        s.start()
        kills += 1
    writer.join()
    s.wait_count("*", total, seconds=120)
    found = {}
    for r in s.query("* | fields _time, _msg, file"):
        found.setdefault(r["file"], []).append(int(r["_msg"][:8]))
    numbers = [n for lines in found.values() for n in lines]
    print(f"TEL_SEED={seed}: {total} lines, {len(numbers)} found, {kills} kills")
    assert sorted(numbers) == list(range(total))
    for f in range(FILES):  # and in order within their source
        rows = s.query(f'{{file="{logs / f"{f}.log"}"}} | sort by (_time) | fields _msg', timeout="60s")
        assert [int(r["_msg"][:8]) for r in rows] == list(range(f * per_file, (f + 1) * per_file))
    s.stop()


def test_full_disk(procs, bin_dir, tmp_path, seed):
    """A disk that fills up: inserts are refused, nothing that was accepted is lost, queries go on."""
    rnd = random.Random(seed)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk], check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        s = Standalone(procs, bin_dir, disk / "data", options=["retention.bytes=1GB", "insert.timeout=1s"]).start()
        acked, sent, refused = set(), set(), 0
        while refused < 3 and len(sent) < 100000:  # random text hardly packs: the index fills the disk too
            ids = [f"{rnd.getrandbits(128):032x}" for _ in range(1000)]
            sent.update(ids)
            if s.insert([{"_msg": f"{x} {rnd.getrandbits(1600):0400x}", "id": x} for x in ids]):
                acked.update(ids)
            else:
                refused += 1
        assert refused == 3, "the disk was never full"
        found = [r["id"] for r in s.query("* | fields id")]  # some may wait in the queue: it says so as lag
        print(f"TEL_SEED={seed}: {len(sent)} sent, {len(acked)} acknowledged, {len(found)} found on the full disk")
        assert found and len(found) == len(set(found)) and set(found) <= sent
        s.kill9()
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        s.start()
        s.wait_count("*", len(acked), seconds=60)
        found = [r["id"] for r in s.query("* | fields id")]
        assert len(found) == len(set(found)) and acked <= set(found) <= sent
        s.kill9()
    finally:
        subprocess.run(["umount", "-l", disk], check=False)

"""Configurations, folders and ports that are wrong: what every program says, and how it ends."""
import os
import re
import signal
import socket
import subprocess
import urllib.request

import pytest

from programs import ALL, ROUTER, SHARD, SIDECAR, STANDALONE
from waiting import poll_until

every = pytest.mark.parametrize("program", ALL, ids=repr)
with_folder = pytest.mark.parametrize("program", [p for p in ALL if p.folder_key], ids=repr)


def mistakes(done):
    """The lines of mistakes; the last line counts them."""
    lines = done.stderr.splitlines()
    count = re.search(r": (\d+) mistakes? in the configuration$", lines[-1])
    assert count and int(count.group(1)) == len(lines) - 1, done.stderr
    return lines[:-1]


# ---- the command line -----------------------------------------------------------------------------

@every
def test_help_and_version(program, bin_dir):
    done = program.run(bin_dir, "--help")
    assert done.returncode == 0 and "usage: " + program.name in done.stdout and done.stderr == ""
    assert all(len(line) <= 140 for line in done.stdout.splitlines())
    done = program.run(bin_dir, "--version")
    assert done.returncode == 0 and re.fullmatch(rf"{program.name}.* \d+\.\d+\.\d+\n", done.stdout), done.stdout


@every
@pytest.mark.parametrize("args, says", [
    (["--nonsense"], "--nonsense"), (["--config"], "--config"), (["-o"], "-o"), (["stray"], "stray"),
    (["--print-docs", "novel"], "novel"), (["-o", "novalue"], "novalue"), (["--log-level", "loud"], "loud"),
    (["\x1b[31mred"], "x1b[31mred"),
])
def test_wrong_usage(program, bin_dir, args, says):
    done = program.run(bin_dir, *args)
    assert done.returncode == 2 and says in done.stderr, (done.returncode, done.stderr)
    assert "\x1b" not in done.stderr and done.stdout == ""


@pytest.mark.parametrize("command", ["search", "tail", "patterns", "import", "status"])
def test_wrong_usage_of_commands(bin_dir, command):
    def run(*args):
        return subprocess.run([bin_dir / "telescope", command, *args], capture_output=True, text=True, timeout=30,
                              check=False)
    done = run("--nonsense")
    assert done.returncode == 2 and "--nonsense" in done.stderr
    done = run("--url", "not a url", *([] if command == "status" else ["x"]))
    assert done.returncode == 2 and done.stderr and done.stdout == ""


# ---- the configuration ----------------------------------------------------------------------------

@every
def test_a_right_configuration(program, bin_dir, tmp_path):
    config = program.write(tmp_path / "a.conf", tmp_path)
    done = program.run(bin_dir, "--config", config, "--check")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.conf"], "--check made something"
    shown = program.run(bin_dir, "--config", config, "--print-config")
    assert shown.returncode == 0
    again = tmp_path / "b.conf"  # what is printed is a configuration
    again.write_text(shown.stdout, encoding="utf-8")
    done = program.run(bin_dir, "--config", again, "--print-config")
    assert done.returncode == 0 and done.stdout == shown.stdout, done.stderr


@every
def test_several_mistakes_at_once(program, bin_dir, tmp_path):
    port = program.port_keys[0]
    group, key = port.split(".")
    config = program.write(tmp_path / "bad.conf", tmp_path, without=[group])
    good = len(config.read_text().splitlines())
    with open(config, "a", encoding="utf-8") as f:
        f.write(f"{group} = {{ {key} = \"nowhere\"; {key}x = 1; }};\n"      # no address; a typo
                "log = { level = \"loud\"; format = 7; };\n"                # not one of; wrong type
                "gibberish_of_mine = 1;\n")                                 # nothing like it
    for more in (["--check"], []):
        done = program.run(bin_dir, "--config", config, *more)
        assert done.returncode == 2, done.stderr
        at = f"{config}:{good + 1}: "
        lines = mistakes(done)
        assert f"{at}{port}x: no such key; did you mean {port}?" in lines, lines
        assert any(x.startswith(f"{at}{port}: ") and "nowhere" in x for x in lines), lines
        assert any(x.startswith(f"{config}:{good + 2}: log.level: ") and "loud" in x for x in lines), lines
        assert any(x.startswith(f"{config}:{good + 2}: log.format: ") for x in lines), lines
        assert f"{config}:{good + 3}: gibberish_of_mine: no such key" in lines, lines
        assert len(lines) == 5, lines
        assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.conf"], "something was started"


@pytest.mark.parametrize("program, more, says", [
    (STANDALONE, "queue = { bytes = \"1KiB\"; };", ["queue.bytes", "8MiB"]),
    (STANDALONE, "retention = { days = -1; };", ["retention.days", "-1"]),
    (STANDALONE, "retention = { days = 99999999; };", ["retention.days", "36500"]),
    (STANDALONE, "retention = { days = 99999999999; };", ["99999999999L"]),
    (STANDALONE, "query = { timeout = \"soon\"; };", ["query.timeout", "soon", "500ms"]),
    (STANDALONE, "memory = { bytes = \"12 parsecs\"; };", ["memory.bytes", "12 parsecs"]),
    (STANDALONE, "stop = 5;", ["stop", "group"]),
    (STANDALONE, "insert = { timeout = [ \"1s\" ]; };", ["insert.timeout"]),
    (SHARD, "flush = { interval = \"50s\"; interval_max = \"5s\"; };", ["flush.interval_max", "flush.interval"]),
    (SHARD, "future = { policy = \"pray\"; };", ["future.policy", "pray", "clamp"]),
    (SIDECAR, "batch = { max_events = 0; };", ["batch.max_events"]),
    (SIDECAR, "kafka = { compression = \"rar\"; };", ["kafka.compression", "rar", "lz4"]),
    (ROUTER, "query = { concurrency = 0; };", ["query.concurrency"]),
    (ROUTER, "grpc_ = { };", ["grpc_"]),
], ids=lambda v: repr(v) if hasattr(v, "command") else None)
def test_values_that_cannot_be(program, bin_dir, tmp_path, more, says):
    config = program.write(tmp_path / "bad.conf", tmp_path, more)
    line = len(config.read_text().splitlines())
    done = program.run(bin_dir, "--config", config, "--check")
    assert done.returncode == 2, done.stdout
    found = mistakes(done)
    assert len(found) == 1 and found[0].startswith(f"{config}:{line}: "), found
    for s in says:
        assert s in found[0], found


@pytest.mark.parametrize("program, key", [(SHARD, "kafka"), (SHARD, "partitions"), (SHARD, "data"),
                                          (SIDECAR, "inputs")], ids=str)
def test_missing_keys(program, key, bin_dir, tmp_path):
    config = program.write(tmp_path / "bad.conf", tmp_path, without=[key])
    done = program.run(bin_dir, "--config", config, "--check")
    assert done.returncode == 2
    assert any(re.search(rf"\b{key}\S*: must be set", x) for x in mistakes(done)), done.stderr


def test_mistakes_of_the_program_stand_with_the_others(bin_dir, tmp_path):
    """Those that only the program can see are told although other keys are wrong too."""
    bad = tmp_path / "bad.conf"
    bad.write_text('queue = "jurnal";\n'
                   'inputs = ( { plugin = "tail"; name = "x"; pathz = [ "y" ]; },\n'
                   '           { plugin = "nosuch"; },\n'
                   '           { name = "z"; } );\n')
    lines = mistakes(SIDECAR.run(bin_dir, "--config", bad, "--check"))
    for place, text in ((":1", "jurnal"), (":2", "pathz"), (":2", "paths is missing"), (":3", "nosuch"),
                        (":4", "plugin")):
        assert any(x.startswith(f"{bad}{place}: ") and text in x for x in lines), (place, text, lines)
    bad.write_text('partitions = [ "5-2", "x" ];\nkafka = { brokers = "k:1"; topik = "t"; };\ndata = { dir = "d"; };\n')
    lines = mistakes(SHARD.run(bin_dir, "--config", bad, "--check"))
    assert [any(s in x for x in lines) for s in ("5-2", '"x"', "topik")] == [True] * 3, lines
    bad.write_text('shards = ( { address = "a:1"; partitions = "9-3"; } );\nhttp = { lisen = "x"; };\n')
    lines = mistakes(ROUTER.run(bin_dir, "--config", bad, "--check"))
    assert [any(s in x for x in lines) for s in ("9-3", "lisen")] == [True] * 2, lines


@every
@pytest.mark.parametrize("text, says", [
    ("a = {\n b = 3\n", ":3"), ("log = { level = \"info\" \n", ":2"), ("\0\xff\xfe", ":1"), ("@include \"/none\"\n", ""),
    ("log = { level = \"info\"; level = \"warn\"; };\n", ":1"), ("x" * 100000 + "\n", ""), ("a={" * 30000, ""),
    ("log = { level = \"${env:TEL_NOT_THERE}\"; };\n", "TEL_NOT_THERE"),
    ("log = { level = \"${file:/not/there}\"; };\n", "/not/there"),
], ids=range(9))
def test_files_that_are_no_configuration(program, bin_dir, tmp_path, text, says):
    config = tmp_path / "bad.conf"
    config.write_bytes(text.encode("latin-1"))
    done = program.run(bin_dir, "--config", config, "--check")
    assert done.returncode == 2, (done.returncode, done.stderr[-500:])
    assert str(config) in done.stderr and says in done.stderr, done.stderr[-500:]


@every
def test_configurations_that_cannot_be_read(program, bin_dir, tmp_path):
    for path, says in ((tmp_path / "none.conf", "No such file"), (tmp_path, "not a file"), ("/dev/zero", "not a file")):
        done = program.run(bin_dir, "--config", path, "--check")
        assert done.returncode == 2 and str(path) in done.stderr and says in done.stderr, done.stderr


# ---- what the machine refuses ---------------------------------------------------------------------

@every
def test_a_port_in_use(program, bin_dir, tmp_path, procs):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        address = f"127.0.0.1:{s.getsockname()[1]}"
        for key in program.port_keys:
            config = program.write(tmp_path / "a.conf", tmp_path)
            p = procs.start(f"{program!r}-{key}", [*program.argv(bin_dir), "--config", config, "-o", f"{key}={address}"])
            assert p.wait_exit() == 1
            assert address in p.log() and "in use" in p.log().lower(), p.log()


@with_folder
def test_a_folder_in_use(program, bin_dir, tmp_path, procs):
    config = program.write(tmp_path / "a.conf", tmp_path)
    first, _ = program.start(procs, bin_dir, config)
    done = program.run(bin_dir, "--config", config)
    assert done.returncode == 1 and str(first.pid) in done.stderr, done.stderr
    first.terminate()
    again, _ = program.start(procs, bin_dir, config, name="again")
    again.terminate()


@with_folder
def test_folders_that_cannot_be_written(program, bin_dir, tmp_path):
    config = program.write(tmp_path / "a.conf", tmp_path)
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file/below", "/proc/telescope", "/sys/telescope"):
        done = program.run(bin_dir, "--config", config, "-o", f"{program.folder_key}={folder}")
        assert done.returncode == 1 and str(folder) in done.stderr, (folder, done.stderr)
        assert done.stderr.count("ERROR") == 1, done.stderr
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("content", [b"", b"\x7fELF garbage", b"#!/bin/sh\n", os.urandom(100000)], ids=range(4))
def test_plugins_that_are_none(bin_dir, tmp_path, content):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/tail.so").write_bytes(content)
    config = SIDECAR.write(tmp_path / "a.conf", tmp_path)
    for more in (["--check"], []):
        done = SIDECAR.run(bin_dir, "--config", config, "-o", f"plugins.dir={tmp_path / 'plugins'}", *more)
        assert done.returncode == 2 and "tail.so" in done.stderr, done.stderr


# ---- signals --------------------------------------------------------------------------------------

def get(address, path):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as r:
        return r.status, r.read().decode()


@every
def test_signals(program, bin_dir, tmp_path, procs):
    (tmp_path / "in").mkdir()
    config = program.write(tmp_path / "a.conf", tmp_path, 'log = { level = "info"; format = "text"; };\n')
    p, address = program.start(procs, bin_dir, config)
    assert get(address, "/healthz")[0] == 200
    assert "process_cpu_seconds_total" in get(address, "/metrics")[1]
    # a configuration that went bad is refused, and what runs goes on
    program.write(config, tmp_path, 'log = { level = "loud"; };\n')
    p.signal(signal.SIGHUP)
    p.wait_line(r"log\.level.*loud")
    assert get(address, "/healthz")[0] == 200
    # what can be reread is
    program.write(config, tmp_path, 'log = { level = "debug"; format = "json"; };\n')
    p.signal(signal.SIGHUP)
    p.wait_line(r"^\{.*\}$")
    assert get(address, "/healthz")[0] == 200
    p.terminate()
    program.write(config, tmp_path)
    for number in (signal.SIGINT, signal.SIGTERM):
        p.start()
        p.wait_line(program.running)
        p.signal(number)
        assert p.wait_exit() == 0


@every
def test_a_signal_at_any_moment_of_the_start(program, bin_dir, tmp_path, procs):
    """SIGTERM before the program is ready: it ends, soon, and not by a crash."""
    config = program.write(tmp_path / "a.conf", tmp_path)
    for ms in (0, 2, 5, 10, 20, 40, 80):
        p = procs.make(f"{program!r}-{ms}", [*program.argv(bin_dir), "--config", config]).start()
        try:
            p._popen.wait(ms / 1000)
        except subprocess.TimeoutExpired:
            pass
        code = p.terminate(expect=None)
        assert code in (0, -signal.SIGTERM), (ms, code, p.log())
    p = procs.start("at-last", [*program.argv(bin_dir), "--config", config])
    p.wait_line(program.running)
    poll_until(lambda: get(p.wait_line(program.running).group(1), "/healthz")[0] == 200, 10, "healthz")
    p.terminate()

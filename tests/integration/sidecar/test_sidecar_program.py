"""The program's manners: what it says about bad configurations, folders and ports, and how it ends."""
import os
import socket
import subprocess

import pytest

import sidecar


def journal(tmp_path):
    return f'queue = "journal"; journal = {{ dir = {sidecar.quoted(tmp_path / "queue")}; partitions = 2; }};'


def check(bin_dir, config, *more):
    return subprocess.run([bin_dir / "telescope-sidecar", "--config", config, "--check", *more],
                          capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def config(tmp_path):
    return sidecar.write_config(tmp_path / "a.conf", tmp_path / "data", [tmp_path / "*.log"], journal(tmp_path))


def test_a_right_configuration(bin_dir, config):
    r = check(bin_dir, config)
    assert r.returncode == 0, r.stderr


@pytest.mark.parametrize("text, says", [
    ('inputs = ( { plugin = "tail"; name = "a"; pathz = [ "x" ]; } );', ["pathz is no option", "paths is missing"]),
    ('inputs = ( { plugin = "tail"; paths = [ "x" ]; max_line_bytes = "huge"; } );', ["max_line_bytes", "huge"]),
    ('inputs = ( { plugin = "tail"; paths = [ "x" ]; max_line_bytes = "3GiB"; } );', ["3221225472", "not within"]),
    ('inputs = ( { plugin = "tail"; paths = [ "x" ]; start_at = "middle"; } );', ["start_at", "middle"]),
    ('inputs = ( { plugin = "tail"; paths = [ "{a" ]; } );', ["not a valid pattern", "{a"]),
    ('inputs = ( { plugin = "nothere"; } );', ["there is no plugin", "nothere.so"]),
    ('inputs = ( { plugin = "../evil"; } );', ["no name of a plugin"]),
    ('inputs = ( { name = "x"; } );', ["plugin", "missing"]),
    ('inputs = ( { plugin = "tail"; paths = [ "x" ]; }, { plugin = "tail"; paths = [ "y" ]; } );',
     ["two inputs are called tail"]),
    ('inputs = ( { plugin = "tail"; paths = [ "x" ]; labels = "no"; } );', ["labels", "must be a group"]),
    ('inputs = ( { plugin = "tail"; paths = [ "${file:/not/there}" ]; } );', ["/not/there"]),
    ('inputs = ( { plugin = "tail"; paths = [ "x" ]; } ); qeue = "kafka";', ["qeue"]),
    ('inputs = ( { plugin = "tail"; paths = [ "x" ]; } ); queue = "rabbit";', ["queue", "kafka"]),
    ('inputs = ( { plugin = "tail"; paths = [ "x" ]; } ); queue = "journal";', ["journal.dir"]),
])
def test_mistakes_are_told_with_their_place(bin_dir, tmp_path, text, says):
    config = tmp_path / "bad.conf"
    config.write_text("# a line before\n" + text + "\n", encoding="utf-8")
    r = check(bin_dir, config)
    assert r.returncode == 2, r.stderr
    for s in says:
        assert s in r.stderr, r.stderr
    assert "bad.conf:2" in r.stderr, r.stderr


def test_plugins_that_are_none(bin_dir, tmp_path, config):
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "tail.so").write_bytes(b"\x7fELF garbage")
    r = check(bin_dir, config, "-o", f"plugins.dir={plugins}")
    assert r.returncode == 2 and "tail.so" in r.stderr, r.stderr


def test_it_runs_and_ends(bin_dir, procs, tmp_path, config):
    p = sidecar.start(procs, bin_dir, config)
    (tmp_path / "a.log").write_bytes(b"one\ntwo")
    second = procs.start("second", [bin_dir / "telescope-sidecar", "--config", config,
                                    "-o", f"journal.dir={tmp_path / 'other'}"])
    assert second.wait_exit() == 1
    assert f"held by process {p.pid}" in second.log(), second.log()
    p.terminate()


def test_a_port_in_use(bin_dir, procs, tmp_path, config):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        p = procs.start("sidecar", [bin_dir / "telescope-sidecar", "--config", config,
                                    "-o", f"admin.listen=127.0.0.1:{port}"])
        assert p.wait_exit() == 1
        assert str(port) in p.log()


def test_a_folder_that_cannot_be(bin_dir, procs, tmp_path, config):
    (tmp_path / "data").write_bytes(b"a file is in the way")
    p = procs.start("sidecar", [bin_dir / "telescope-sidecar", "--config", config])
    assert p.wait_exit() == 1
    assert str(tmp_path / "data") in p.log()


def test_a_corrupt_checkpoint_is_not_passed_over(bin_dir, procs, tmp_path, config):
    (tmp_path / "a.log").write_bytes(b"one\n")
    p = sidecar.start(procs, bin_dir, config)
    p.terminate()
    for name in ("checkpoint", "checkpoint.prev"):
        if (tmp_path / "data" / name).exists():
            (tmp_path / "data" / name).write_bytes(os.urandom(100))
    p.start()
    assert p.wait_exit() == 1
    assert "restart_if_corrupt" in p.log()
    again = procs.start("again", [bin_dir / "telescope-sidecar", "--config", config,
                                  "-o", "checkpoint.restart_if_corrupt=true"])
    again.wait_line("running")
    again.terminate()
    assert list((tmp_path / "data").glob("checkpoint.corrupt-*"))

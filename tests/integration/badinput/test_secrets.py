"""Secrets from ${env:} and ${file:} are used, and shown nowhere."""
import signal
import urllib.request
from pathlib import Path

import pytest

from programs import ALL

SECRET = "hush-7c1f09-hush"
secretive = pytest.mark.parametrize("program", [p for p in ALL if p.secret], ids=repr)
ways = pytest.mark.parametrize("way", ["env", "file", "plain"])


def configured(program, tmp_path, way):
    """A configuration with the secret, and the environment that goes with it."""
    (tmp_path / "secret").write_text(SECRET + "\n")
    text = {"env": "${env:TEL_TEST_SECRET}", "file": f"${{file:{tmp_path / 'secret'}}}", "plain": SECRET}[way]
    key = program.secret.split(" ")[0]
    config = program.write(tmp_path / "a.conf", tmp_path, program.secret.format(text) + "\nlog = { level = \"debug\"; };\n",
                           without=[key])
    return config, {"TEL_TEST_SECRET": SECRET}


@secretive
@ways
def test_a_secret_is_shown_nowhere(program, way, bin_dir, tmp_path, procs):
    config, env = configured(program, tmp_path, way)
    p, address = program.start(procs, bin_dir, config, env=env)
    pages = b""
    for path in ("/metrics", "/healthz", "/readyz", "/", "/select/status", "/config"):
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as r:
                pages += r.read() + str(r.headers).encode()
        except urllib.error.HTTPError as e:
            pages += e.read()
    p.signal(signal.SIGHUP)
    p.wait_line("configuration read again")
    cmdline = Path(f"/proc/{p.pid}/cmdline").read_bytes()
    p.terminate()
    for what, text in (("pages", pages), ("cmdline", cmdline), ("log", p.log(whole=True).encode())):
        assert SECRET.encode() not in text, what
    made = [f for f in tmp_path.rglob("*") if f.is_file() and f.name not in ("secret", "a.conf")]
    assert not [f for f in made if SECRET.encode() in f.read_bytes()], "a file holds it"
    done = program.run(bin_dir, "--config", config, "--print-config", env=env)
    assert done.returncode == 0 and SECRET not in done.stdout + done.stderr and "***" in done.stdout


@secretive
def test_a_secret_is_not_taken_from_the_command_line(program, bin_dir, tmp_path):
    config = program.write(tmp_path / "a.conf", tmp_path)
    where = program.secret.split(" ")[0]
    option = f"{where}={SECRET}" if where != "kafka" else f'kafka.properties=["sasl.password={SECRET}"]'
    done = program.run(bin_dir, "--config", config, "-o", option, "--check")
    assert done.returncode == 2 and "secret" in done.stderr and SECRET not in done.stderr + done.stdout


@secretive
def test_mistakes_do_not_show_a_secret(program, bin_dir, tmp_path):
    """A wrong value of a secret key, and a wrong key beside it."""
    for text in (program.secret.format(SECRET + "${env:TEL_NOT_THERE}"), program.secret.format(SECRET) + "\nlog = 5;\n",
                 program.secret.replace("sasl.password=", "").format(SECRET)):
        key = program.secret.split(" ")[0]
        config = program.write(tmp_path / "a.conf", tmp_path, text, without=[key])
        done = program.run(bin_dir, "--config", config, "--check")
        assert SECRET not in done.stderr + done.stdout, done.stderr


@secretive
def test_a_secret_that_cannot_be_read(program, bin_dir, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"x" * (64 << 20))
    key = program.secret.split(" ")[0]
    for reference, says in ((f"${{file:{tmp_path / 'none'}}}", "none"), (f"${{file:{tmp_path / 'folder'}}}", "folder"),
                            (f"${{file:{tmp_path / 'large'}}}", "large"), ("${env:TEL_NOT_THERE}", "TEL_NOT_THERE"),
                            ("${vault:x}", "vault"), ("${env:", "")):
        config = program.write(tmp_path / "a.conf", tmp_path, program.secret.format(reference), without=[key])
        done = program.run(bin_dir, "--config", config, "--check")
        assert done.returncode == 2 and says in done.stderr, (reference, done.stderr[-300:])

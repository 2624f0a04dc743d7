"""`cmake --install` into a folder of one's own: programs run from there, with the plugins that lie beside them."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from programs import SIDECAR
from standalone import Standalone


@pytest.fixture
def prefix(build_dir, tmp_path):
    done = subprocess.run(["cmake", "--install", build_dir, "--prefix", tmp_path / "prefix"], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    # moved after it was installed, to a place with a space: nothing may have the first place built in
    moved = tmp_path / "moved here"
    shutil.move(tmp_path / "prefix", moved)
    return moved


def test_installed_programs_run_from_anywhere(prefix, procs, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    programs = sorted(p.name for p in (prefix / "bin").iterdir())
    assert programs == ["telescope", "telescope-router", "telescope-shard", "telescope-sidecar"]
    for name in programs:
        done = subprocess.run([prefix / "bin" / name, "--version"], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0 and done.stdout.startswith(name), done.stderr
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.log").write_text("installed and found\n")
    s = Standalone(procs, prefix / "bin", tmp_path / "data", tail=[str(tmp_path / "in/*.log")]).start()
    s.wait_count('"installed and found"', 1)
    plugin = os.path.realpath(prefix / "lib/telescope/plugins/tail.so")
    assert plugin in Path(f"/proc/{s.process.pid}/maps").read_text(), "another tail.so is loaded"
    s.stop()
    config = SIDECAR.write(tmp_path / "a.conf", tmp_path / "sidecar")
    p, _ = SIDECAR.start(procs, prefix / "bin", config)
    assert plugin in Path(f"/proc/{p.pid}/maps").read_text()
    p.terminate()


def test_plugins_can_be_made_against_what_is_installed(prefix, tmp_path):
    """The header alone is enough."""
    source = Path(__file__).resolve().parents[3] / "plugins/example/example.c"
    include = prefix / "include"
    assert [p.name for p in include.iterdir()] == ["telescope_input.h"]
    text = source.read_text().replace('"plugins/telescope_input.h"', '"telescope_input.h"').replace('"example"', '"mine"')
    (tmp_path / "mine.c").write_text(text)
    subprocess.run(["cc", "-std=c11", "-fPIC", "-shared", "-Wall", "-Wextra", "-I", include, tmp_path / "mine.c", "-o",
                    prefix / "lib/telescope/plugins/mine.so"], check=True, timeout=60)
    config = SIDECAR.write(tmp_path / "a.conf", tmp_path / "sidecar", without=["inputs"])
    with open(config, "a", encoding="utf-8") as f:
        f.write('inputs = ( { plugin = "mine"; interval = "1s"; } );\n')
    done = SIDECAR.run(prefix / "bin", "--config", config, "--check")
    assert done.returncode == 0, done.stderr

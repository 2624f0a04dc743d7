"""Processes under test: started, watched, killed, and always ended.

    with Processes(folder) as procs:
        p = procs.start("shard", [bin / "telescope-shard", "--config", cfg])
        p.wait_line(r"ready", 10)
        p.kill9()
        p.start()          # again, same command
        p.terminate()      # SIGTERM, must exit 0

stdout and stderr go to folder/NAME.log; what a sanitizer reports there fails the test when its processes
are ended, whatever the test saw; wait_line reads them there. When the block is left because of
an exception, the tails of all logs are printed.
"""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from waiting import Late, poll_until


# AddressSanitizer, LeakSanitizer, ThreadSanitizer; UndefinedBehaviorSanitizer has a form of its own.
SANITIZER = re.compile(r"(ERROR|WARNING): \w+Sanitizer|^\S+:\d+:\d+: runtime error: ", re.M)


class Process:
    def __init__(self, name, argv, folder, env=None, cwd=None):
        self.name = name
        self.argv = [str(a) for a in argv]
        self.log_path = Path(folder) / f"{name}.log"
        self.env = env
        self.cwd = cwd
        self.starts = 0
        self._popen = None
        self._mark = 0  # where the log of this start begins

    def start(self):
        assert not self.alive(), f"{self.name} runs already"
        self._mark = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self._popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           cwd=self.cwd, env={**os.environ, **(self.env or {})})
        self.starts += 1
        return self

    @property
    def pid(self):
        return self._popen.pid

    def alive(self):
        return self._popen is not None and self._popen.poll() is None

    def log(self, whole=False):
        """What it has printed since its last start (or ever)."""
        with open(self.log_path, "rb") as f:
            f.seek(0 if whole else self._mark)
            return f.read().decode("utf-8", "replace")

    def wait_line(self, pattern, seconds=20):
        """The match of the first line since the last start that has the pattern."""
        regex = re.compile(pattern)

        def look():
            text = self.log()
            for line in text.splitlines():
                m = regex.search(line)
                if m:
                    return m
            if not self.alive():
                raise AssertionError(f"{self.name} ended with {self._popen.poll()}; its log:\n{text[-4000:]}")
            return None

        return poll_until(look, seconds, lambda: f"{pattern!r} from {self.name}; its log:\n{self.log()[-4000:]}")

    def wait_exit(self, seconds=20):
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Late(f"{self.name} did not end within {seconds} s; its log:\n{self.log()[-4000:]}") from None

    def kill9(self):
        if self.alive():
            self._popen.send_signal(signal.SIGKILL)
        self._popen.wait()

    def terminate(self, seconds=20, expect=0):
        """SIGTERM; the exit code must be `expect` (None: any)."""
        if self.alive():
            self._popen.send_signal(signal.SIGTERM)
        code = self.wait_exit(seconds)
        assert expect is None or code == expect, f"{self.name} ended with {code}; its log:\n{self.log()[-4000:]}"
        return code

    def signal(self, number):
        self._popen.send_signal(number)

    def cpu_seconds(self):
        """User and system time so far."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self, peak=False):
        key = "VmHWM:" if peak else "VmRSS:"
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith(key):
                    return int(line.split()[1]) * 1024
        return 0


class Processes:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.all = []

    def make(self, name, argv, env=None, cwd=None):
        p = Process(name, argv, self.folder, env, cwd)
        self.all.append(p)
        return p

    def start(self, name, argv, env=None, cwd=None):
        return self.make(name, argv, env, cwd).start()

    def show(self, file=sys.stderr, tail=3000):
        for p in self.all:
            if p.log_path.exists():
                state = "runs" if p.alive() else f"ended with {p._popen.poll()}" if p._popen else "not started"
                print(f"---- {p.name} ({state}, {p.starts} starts): {p.log_path}\n{p.log(whole=True)[-tail:]}", file=file)

    def end(self):
        """Ends all, by pid; those that do not go within 5 s are killed. A sanitizer's report in a log is
        an error."""
        alive = [p for p in self.all if p.alive()]
        for p in alive:
            p.signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        for p in alive:
            try:
                p._popen.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                p.kill9()
        self.check_sanitizers()

    def check_sanitizers(self):
        for p in self.all:
            report = SANITIZER.search(p.log(whole=True)) if p.log_path.exists() else None
            if report:
                raise AssertionError(f"{p.name}: a sanitizer's report:\n{p.log(whole=True)[report.start():][:6000]}")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        if kind is not None:
            self.show()
        self.end()  # nothing is hidden: Python chains the errors

"""`telescope standalone` under test, asked over HTTP with nothing but Python's standard library.

    s = Standalone(procs, bin_dir, folder, tail=["/tmp/x/*.log"])
    s.start(); s.insert([{"_msg": "hello"}]); s.query("hello"); s.kill9(); s.start(); s.stop()
"""
import http.client
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from waiting import poll_until


class Standalone:
    def __init__(self, procs, bin_dir, folder, tail=(), options=(), name="standalone", http="127.0.0.1:0"):
        self.bin = bin_dir / "telescope"
        self.folder = folder
        argv = [self.bin, "standalone", "--data", folder, "--http", http, "--grpc", "127.0.0.1:0"]
        for glob in tail:
            argv += ["--tail", glob]
        for option in options:
            argv += ["-o", option]
        self.process = procs.make(name, argv)
        self.http = self.grpc = None

    def start(self, seconds=30):
        self.process.start()
        m = self.process.wait_line(r"^ready http=(\S+) grpc=(\S+)$", seconds)
        self.http, self.grpc = m.group(1), m.group(2)
        return self

    def stop(self):
        return self.process.terminate()

    def kill9(self):
        self.process.kill9()

    @property
    def url(self):
        return "http://" + self.http

    def get(self, path, **params):
        """(status, headers, body) whatever the status."""
        url = self.url + path + ("?" + urllib.parse.urlencode(params) if params else "")
        return self._open(urllib.request.Request(url))

    def post(self, path, body, headers=None, **params):
        url = self.url + path + ("?" + urllib.parse.urlencode(params) if params else "")
        return self._open(urllib.request.Request(url, data=body, headers=headers or {}, method="POST"))

    @staticmethod
    def _open(request):
        try:
            with urllib.request.urlopen(request, timeout=60) as r:
                return r.status, r.headers, r.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()

    def insert(self, rows, headers=None, **params):
        """Inserts; true when the server said that it has them. A server that dies under it says nothing."""
        body = "".join(json.dumps(r) + "\n" for r in rows).encode()
        try:
            status, _, text = self.post("/insert/jsonline", body, headers, **params)
        except (OSError, http.client.HTTPException):
            return False
        return status == 200 and json.loads(text)["accepted"] == len(rows)

    def query(self, text, headers=None, **params):
        """Rows; the answer must be whole."""
        data = urllib.parse.urlencode({"query": text, **params}).encode()
        request = urllib.request.Request(self.url + "/select/logsql/query", data=data, headers=headers or {})
        with urllib.request.urlopen(request, timeout=60) as r:
            assert "X-Telescope-Partial" not in r.headers, r.headers["X-Telescope-Partial"]
            rows = [json.loads(line) for line in r.read().splitlines()]
        assert not any("_error" in row for row in rows), rows[-1]
        return rows

    def count(self, text="*"):
        return int(self.query(f"{text} | stats count() n")[0].get("n", 0))

    def wait_count(self, text, n, seconds=20):
        poll_until(lambda: self.count(text) >= n, seconds, lambda: f"{self.count(text)} of {n} for {text}")

    def cli(self, *args, expect=0, stdin=None, env=None):
        """Runs a telescope command against this server; stdout."""
        import os
        done = subprocess.run([str(self.bin), *args], input=stdin, capture_output=True, timeout=60, check=False,
                              env={**os.environ, "TELESCOPE_URL": self.url, **(env or {})})
        assert done.returncode == expect, (done.returncode, args, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout.decode("utf-8", "replace")

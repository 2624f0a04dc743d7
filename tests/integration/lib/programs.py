"""Every program of Telescope under one roof, for tests that ask the same of each: a configuration with
which it runs on its own, its addresses, and what it says when it runs.

    for p in ALL: p.argv(bin_dir); p.write(tmp_path / "x.conf", tmp_path)

None of them needs Kafka: a shard server and a sidecar go on, and try again, while it is away.
"""
import subprocess

from proc import SANITIZER


class Program:
    def __init__(self, name, command, config, running, port_keys, folder_key, secret=None):
        self.name = name              # as it calls itself
        self.command = command        # the binary and what comes first
        self.config = config          # {dir} is a folder of the test's
        self.running = running        # the line that says that it runs; group 1 is its HTTP address
        self.port_keys = port_keys    # keys of addresses
        self.folder_key = folder_key  # key of its data folder, or None
        self.secret = secret          # a configuration with a secret: key and the text around it

    def __repr__(self):
        return self.name.replace(" ", "_")

    def argv(self, bin_dir):
        return [bin_dir / self.command[0], *self.command[1:]]

    def write(self, path, folder, more="", without=()):
        """The configuration as a file; `without` leaves keys out."""
        lines = [f"{k} = {v.format(dir=folder)};" for k, v in self.config.items() if k not in without]
        path.write_text("\n".join(lines) + "\n" + more, encoding="utf-8")
        return path

    def run(self, bin_dir, *args, env=None):
        """To its end."""
        done = subprocess.run([*map(str, self.argv(bin_dir)), *map(str, args)], capture_output=True, text=True,
                              errors="replace", timeout=60, check=False, env=env)
        assert not SANITIZER.search(done.stderr), done.stderr
        return done

    def start(self, procs, bin_dir, config, *args, name=None, env=None):
        p = procs.start(name or repr(self), [*self.argv(bin_dir), "--config", config, *args], env)
        return p, p.wait_line(self.running).group(1)


STANDALONE = Program(
    "telescope standalone", ["telescope", "standalone"],
    {"data": '{{ dir = "{dir}/data"; }}', "http": '{{ address = "127.0.0.1:0"; }}',
     "grpc": '{{ address = "127.0.0.1:0"; }}', "tail": '{{ paths = [ "{dir}/in/*.log" ]; }}'},
    r"^ready http=(\S+)", ["http.address", "grpc.address"], "data.dir")

SIDECAR = Program(
    "telescope-sidecar", ["telescope-sidecar"],
    {"data": '{{ dir = "{dir}/data"; }}', "queue": '"journal"', "journal": '{{ dir = "{dir}/queue"; }}',
     "admin": '{{ listen = "127.0.0.1:0"; }}',
     "inputs": '( {{ plugin = "tail"; name = "files"; paths = [ "{dir}/in/*.log" ]; }} )'},
    r"running admin=(\S+)", ["admin.listen"], "data.dir",
    ("kafka = {{ properties = [ \"sasl.password={}\" ]; }};"))

SHARD = Program(
    "telescope-shard", ["telescope-shard"],
    {"data": '{{ dir = "{dir}/data"; }}', "partitions": '[ "0-1" ]', "kafka": '{{ brokers = "127.0.0.1:1"; }}',
     "grpc": '{{ listen = "127.0.0.1:0"; }}', "admin": '{{ listen = "127.0.0.1:0"; }}'},
    r"ready .*admin=(\S+)", ["grpc.listen", "admin.listen"], "data.dir",
    ("kafka = {{ brokers = \"127.0.0.1:1\"; properties = [ \"sasl.password={}\" ]; }};"))

ROUTER = Program(
    "telescope-router", ["telescope-router"],
    {"http": '{{ listen = "127.0.0.1:0"; }}', "grpc": '{{ listen = "127.0.0.1:0"; }}',
     "shards": '( {{ address = "127.0.0.1:1"; partitions = "0-1"; }} )'},
    r"http=(\S+)", ["http.listen", "grpc.listen"], None, ("shard_token = \"{}\";"))

ALL = [STANDALONE, SIDECAR, SHARD, ROUTER]

"""telescope-sidecar under test: its configuration, its process, and what it sent."""
import urllib.request
from collections import defaultdict

from records import decode_batch
from topics import read_topic


def quoted(value):
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_config(path, data, paths, more="", options="", bootstrap=None, topic=None, labels='app = "test";'):
    kafka = f"kafka = {{ brokers = {quoted(bootstrap)}; topic = {quoted(topic)}; }};" if bootstrap else ""
    globs = ", ".join(quoted(p) for p in paths)
    path.write_text(f"""
data = {{ dir = {quoted(data)}; }};
admin = {{ listen = "127.0.0.1:0"; }};
checkpoint = {{ interval = "100ms"; }};
{kafka}
{more}
inputs = ( {{ plugin = "tail"; name = "files"; paths = [ {globs} ]; labels = {{ {labels} }};
              scan_interval = "100ms"; rotate_grace = "300ms"; {options} }} );
""", encoding="utf-8")
    return path


def start(procs, bin_dir, config, name="sidecar", wait=True):
    p = procs.start(name, [bin_dir / "telescope-sidecar", "--config", config])
    if wait:
        p.wait_line("running")
    return p


def admin(process, path):
    address = process.wait_line(r"running admin=(\S+)").group(1)
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as r:
        return r.status, r.read().decode()


def read_events(bootstrap, topic, partitions=4):
    """source -> its events in order, repeats dropped as shards drop them; and how many there were.
    Fails when a source is found in two partitions, or under another key than its own."""
    sources, home, repeats = defaultdict(list), {}, 0
    for p, messages in enumerate(read_topic(bootstrap, topic, partitions)):
        for m in messages:
            batch = decode_batch(m.value())
            source = batch["source"]
            assert m.key().decode() == source
            assert home.setdefault(source, p) == p, f"{source} is in partitions {home[source]} and {p}"
            for e in batch["events"]:
                e["resource"] = batch["resource"]
                if sources[source] and e["position"] <= sources[source][-1]["position"]:
                    repeats += 1
                else:
                    sources[source].append(e)
    return dict(sources), repeats

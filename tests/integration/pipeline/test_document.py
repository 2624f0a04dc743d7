"""docs/cluster.md: its configurations start a cluster, as they stand there but for addresses and folders."""
import re
from pathlib import Path

from ports import free_port
from stack import LogFile, Query
from topics import create_topic, new_topic_name
from waiting import poll_until

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/cluster.md"


def blocks(text):
    """The configurations: name -> text. A block belongs to the last `/etc/telescope/NAME.conf` above it."""
    found, name = {}, None
    for part in re.finditer(r"/etc/telescope/(\w+)\.conf`|```libconfig\n(.*?)```", text, re.DOTALL):
        name = part.group(1) or name
        if part.group(2):
            found[name] = part.group(2)
    return found


def test_cluster_document(kafka, procs, bin_dir, tmp_path):
    topic = create_topic(kafka.bootstrap, new_topic_name("document"), partitions=4)
    http = f"127.0.0.1:{free_port()}"
    grpc = {"logs-1": f"127.0.0.1:{free_port()}", "logs-2": f"127.0.0.1:{free_port()}"}
    (tmp_path / "apps/shop").mkdir(parents=True)
    log = LogFile(tmp_path / "apps/shop/a.log", "doc")
    log.append(100)
    conf = blocks(DOCUMENT.read_text(encoding="utf-8"))
    assert set(conf) == {"sidecar", "shard", "router"}

    def here(text, name, **places):
        places = {"kafka-0:9092": kafka.bootstrap, "telescope.logs": topic, "/var/log/apps": str(tmp_path / "apps"),
                  "/var/lib/telescope": str(tmp_path / name), **places}
        for there, ours in places.items():
            text = text.replace(there, ours)
        path = tmp_path / f"{name}.conf"
        path.write_text(text, encoding="utf-8")
        return path

    def run(program, name, path):
        return procs.start(name, [bin_dir / program, "--config", path, "-o", "admin.listen=127.0.0.1:0"])

    servers = [run("telescope-shard", node, here(conf["shard"].replace('"logs-1"', f'"{node}"'), node,
                                                 **{"0.0.0.0:7072": address})) for node, address in grpc.items()]
    run("telescope-sidecar", "sidecar", here(conf["sidecar"], "sidecar"))
    router = here(conf["router"], "router", **{f"{node}:7072": address for node, address in grpc.items()},
                  **{"0.0.0.0:7070": http})
    procs.start("router", [bin_dir / "telescope-router", "--config", router, "-o", f"grpc.listen=127.0.0.1:{free_port()}"])

    query = Query(http)
    poll_until(lambda: query.count('{cluster="eu1",app="shop"}') == 100, 60, "the lines")
    rows, missing = query.rows("tag=doc | sort by (_time) | limit 1")
    assert not missing and "id=doc-0 " in rows[0]["_msg"]
    servers[0].kill9()  # its replica answers
    poll_until(lambda: query.count("tag=doc") == 100, 30, "the lines again")

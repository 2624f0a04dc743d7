"""Inserts by HTTP into a sidecar over a real Kafka: a success means that Kafka has the events."""
import json
import urllib.error
import urllib.request

import sidecar
from waiting import poll_until


def start(procs, bin_dir, tmp_path, bootstrap, topic, timeout="10s"):
    config = sidecar.write_config(tmp_path / "sidecar.conf", tmp_path / "data", [tmp_path / "apps/*.log"],
                                  more=f'insert = {{ listen = "127.0.0.1:0"; timeout = "{timeout}"; }};',
                                  bootstrap=bootstrap, topic=topic)
    p = procs.start("sidecar", [bin_dir / "telescope-sidecar", "--config", config])
    return p, p.wait_line(r"running .*insert=(\S+)").group(1)


def post(address, rows, **headers):
    body = "".join(json.dumps(r) + "\n" for r in rows).encode()
    request = urllib.request.Request(f"http://{address}/insert/jsonline?_stream_fields=app", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as r:
            return r.status, json.loads(r.read())
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def test_success_is_durable(kafka, topic, procs, bin_dir, tmp_path):
    p, address = start(procs, bin_dir, tmp_path, kafka.bootstrap, topic)
    for i in range(20):
        status, answer = post(address, [{"_msg": f"event {i * 10 + k}", "app": f"a{k % 3}"} for k in range(10)])
        assert status == 200 and answer["accepted"] == 10
    p.kill9()  # acknowledged is acknowledged
    sources, repeats = sidecar.read_events(kafka.bootstrap, topic)
    events = [e for s in sources.values() for e in s]
    assert sorted(int(e["body"].split()[1]) for e in events) == list(range(200)) and repeats == 0
    assert {e["resource"]["app"] for e in events} == {"a0", "a1", "a2"}


def test_without_a_broker(own_kafka, procs, bin_dir, tmp_path):
    """No broker at the start: told to come again; when it comes, so do the events."""
    from topics import create_topic, new_topic_name
    topic = create_topic(own_kafka.bootstrap, new_topic_name())
    own_kafka.kill9(0)
    p, address = start(procs, bin_dir, tmp_path, own_kafka.bootstrap, topic, timeout="1s")
    status, text = post(address, [{"_msg": "too early"}])
    assert status == 503 and "try again" in text
    own_kafka.start_broker(0)
    poll_until(lambda: post(address, [{"_msg": "in time"}])[0] == 200, 60, "an insert that succeeds", 0.5)
    sources, _ = sidecar.read_events(own_kafka.bootstrap, topic)
    assert any(e["body"] == b"in time" for s in sources.values() for e in s)
    p.terminate()

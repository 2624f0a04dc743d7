"""Messages that are no records go to the topic of dead letters, with the reason; the partition goes on."""
import copy
import json

from confluent_kafka import Producer

from records import LOG_BATCH, decode_dead_letter, encode, schema_fingerprint
from stack import Stack
from topics import create_topic, new_topic_name, read_topic
from waiting import poll_until


def batch(number, source="handmade"):
    return {"tenant": "default", "resource": {"app": "handmade"}, "source": source, "events": [
        {"timestamp": 1_700_000_000_000_000_000 + number, "position": number, "severity": 9,
         "body": b"tag=%s id=%s-%d" % (source.encode(), source.encode(), number), "attributes": {}, "trace_id": None,
         "span_id": None}]}


def test_other_writers_schemas(kafka, procs, bin_dir, tmp_path):
    """A registry's id and a schema of another producer, told to the shard in a folder."""
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    (schemas / "id-7.avsc").write_text(json.dumps(LOG_BATCH))
    topic = create_topic(kafka.bootstrap, new_topic_name("writers"), partitions=1)
    stack = Stack(procs, bin_dir, tmp_path, kafka.bootstrap, topic, partitions=1, sidecars=0, shards=1,
                  shard_extra=f'record = {{ schemas = "{schemas}"; }};').start()
    other = copy.deepcopy(LOG_BATCH)
    other["fields"].reverse()
    other["fields"].append({"name": "more", "type": "string"})
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(topic, encode(batch(0), frame="confluent", schema_id=7), partition=0)
    assert producer.flush(30) == 0
    stack.wait_count(1, 60)
    (schemas / "other.avsc").write_text(json.dumps(other))  # while the shard runs
    producer.produce(topic, encode(dict(batch(1), more="x"), other), partition=0)
    producer.produce(topic, encode(batch(2), frame="confluent", schema_id=8), partition=0)  # nobody knows it
    producer.produce(topic, encode(batch(3)), partition=0)
    assert producer.flush(30) == 0
    stack.wait_count(3, 60)
    letters = [decode_dead_letter(m.value()) for m in read_topic(kafka.bootstrap, stack.dead_letters, 1)[0]]
    assert [(g["offset"], g["code"]) for g in letters] == [(2, "NOTFOUND")]
    stack.stop()


def varint(n):
    n <<= 1
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def test_dead_letters(kafka, procs, bin_dir, tmp_path):
    topic = create_topic(kafka.bootstrap, new_topic_name("dead"), partitions=2)
    stack = Stack(procs, bin_dir, tmp_path, kafka.bootstrap, topic, partitions=2, sidecars=0, shards=1).start()
    frame = b"\xc3\x01" + schema_fingerprint(LOG_BATCH)
    good = [encode(batch(n)) for n in range(4)]
    other = b"\xc3\x01" + b"\x11" * 8 + good[0][10:]
    huge = frame + b"\x02t\x00\x02s" + varint(1 << 40) + b"\0" * 50
    messages = [good[0], good[1][:-9], other, good[1], huge, b"", b"plain text", good[2], good[0], good[3]]
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for m in messages:
        producer.produce(topic, m, key=b"k", partition=1)
    assert producer.flush(30) == 0

    stack.wait_count(4, 60)  # good[0] was sent twice and is there once
    letters = poll_until(lambda: [m for m in read_topic(kafka.bootstrap, stack.dead_letters, 1)[0]], 20, "dead letters")
    got = [decode_dead_letter(m.value()) for m in letters]
    assert [(g["offset"], g["code"]) for g in got] == [
        (1, "TRUNCATED"), (2, "UNSUPPORTED"), (4, "LIMIT"), (5, "TRUNCATED"), (6, "CORRUPT")]
    for g in got:
        assert g["origin"] == topic and g["partition"] == 1 and g["key"] == b"k"
        assert g["value"] == messages[g["offset"]] and g["value_bytes"] == len(g["value"])
        assert g["timestamp"] > 1_600_000_000_000_000_000
    assert f"byte {len(good[1]) - 9 - 0}" in got[0]["reason"] or "byte" in got[0]["reason"]
    assert "1111111111111111" in got[1]["reason"]
    assert stack.metric("shard0", "telescope_shard_dead_letters_total") == 5

    # After a crash nothing is lost or twice; letters may be buried again, told by their offset.
    stack.shards[0].kill9()
    stack.shards[0].start()
    producer.produce(topic, encode(batch(9)), key=b"k", partition=1)
    assert producer.flush(30) == 0
    stack.wait_count(5, 60)
    again = [decode_dead_letter(m.value()) for m in read_topic(kafka.bootstrap, stack.dead_letters, 1)[0]]
    assert {g["offset"] for g in again} == {1, 2, 4, 5, 6}
    stack.stop()

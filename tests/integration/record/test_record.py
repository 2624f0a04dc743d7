"""The record codec against fastavro, in both directions, and with other writers' schemas."""
import copy
import json
import random
import subprocess

import fastavro
import pytest

from records import LOG_BATCH, decode_batch, encode, parsed, schema_fingerprint


@pytest.fixture
def peer(build_dir, tmp_path):
    schemas = tmp_path / "schemas"
    schemas.mkdir()

    class Peer:
        def learn(self, schema, schema_id=None):
            name = f"id-{schema_id}" if schema_id is not None else f"any{len(list(schemas.iterdir()))}"
            (schemas / f"{name}.avsc").write_text(json.dumps(schema))

        def run(self, *args):
            done = subprocess.run([build_dir / "tests/record_peer", *map(str, args)], stdout=subprocess.PIPE, check=True)
            return [json.loads(line) for line in done.stdout.splitlines()]

        def dump(self, *messages):
            paths = []
            for i, m in enumerate(messages):
                paths.append(tmp_path / f"in{i}.msg")
                paths[-1].write_bytes(m)
            return self.run("dump", schemas, *paths)

    return Peer()


def hexed(batch):
    """A batch of fastavro's as record_peer prints it."""
    def h(x):
        return (x.encode() if isinstance(x, str) else bytes(x or b"")).hex()

    def m(fields):
        return {h(k): h(v) for k, v in fields.items()}

    events = [dict(e, body=h(e["body"]), attributes=m(e["attributes"]), trace_id=h(e["trace_id"]), span_id=h(e["span_id"]))
              for e in batch["events"]]
    return dict(tenant=h(batch["tenant"]), source=h(batch["source"]), resource=m(batch["resource"]), events=events)


def random_batch(r, events=30):
    def text(n):
        return "".join(r.choice("abcxyz019_-./é世") for _ in range(r.randint(1, n)))

    position = r.randrange(1 << r.randrange(1, 60))
    out = []
    for _ in range(r.randrange(events)):
        out.append({
            "timestamp": r.randrange(-1 << 62, 1 << 62) >> r.randrange(60),
            "position": position,
            "severity": r.randrange(25),
            "body": r.randbytes(r.randrange(200)),
            "attributes": {text(20): r.randbytes(r.randrange(50)) for _ in range(r.randrange(6))},
            "trace_id": r.choice([None, r.randbytes(16).hex()]),
            "span_id": r.choice([None, r.randbytes(8).hex()]),
        })
        position += r.randrange(1, 1000)
    return {"tenant": "team-1", "source": text(60), "resource": {text(10): text(20) for _ in range(r.randrange(8))},
            "events": out}


def test_fastavro_reads_what_we_write(peer, tmp_path, seed):
    printed = peer.run("write", seed, 100, tmp_path)
    assert len(printed) == 100
    for i, expected in enumerate(printed):
        message = (tmp_path / f"{i}.msg").read_bytes()
        if i % 4 == 0:  # Confluent's frame
            assert message[:5] == b"\x00\x00\x00\x00\x07"
            message = b"\xc3\x01" + schema_fingerprint(LOG_BATCH) + message[5:]
        assert hexed(decode_batch(message)) == expected


def test_we_read_what_fastavro_writes(peer, seed):
    r = random.Random(seed)
    batches = [random_batch(r) for _ in range(100)]
    peer.learn(LOG_BATCH, 7)
    messages = [encode(b, frame="single" if i % 3 else "confluent", schema_id=7) for i, b in enumerate(batches)]
    assert peer.dump(*messages) == [hexed(b) for b in batches]


# ---- other writers --------------------------------------------------------------------------------

def evolve(change):
    schema = copy.deepcopy(LOG_BATCH)
    change(schema, schema["fields"], schema["fields"][3]["type"]["items"]["fields"])
    return schema


def without(fields, *names):
    fields[:] = [f for f in fields if f["name"] not in names]


def retype(fields, name, new):
    for f in fields:
        if f["name"] == name:
            f["type"] = new
            f.pop("default", None)


def lacks_all_optional(schema, batch, event):
    without(batch, "tenant", "resource")
    without(event, "severity", "attributes", "trace_id", "span_id")


def has_more(schema, batch, event):
    batch.insert(0, {"name": "version", "type": "int"})
    batch.append({"name": "extra", "type": {"type": "map", "values": {"type": "array", "items": "double"}}})
    event.insert(2, {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}})
    event.append({"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 4}})
    event.append({"name": "inner", "type": ["null", {"type": "record", "name": "Inner", "fields": [
        {"name": "flag", "type": "boolean"}, {"name": "ratio", "type": "float"},
        {"name": "next", "type": ["null", "Inner"]}]}]})


def reordered(schema, batch, event):
    batch.reverse()
    event.reverse()


def text_types(schema, batch, event):
    retype(event, "body", "string")
    retype(event, "attributes", {"type": "map", "values": "string"})
    retype(event, "trace_id", "string")
    retype(event, "timestamp", "int")
    retype(batch, "source", ["null", "string"])


def unions(schema, batch, event):
    retype(event, "body", ["null", "string", "bytes"])
    retype(event, "attributes", {"type": "map", "values": ["bytes", "string", "null"]})
    retype(event, "severity", ["int", "null"])


EXTRA_BATCH = {"version": 3, "extra": {"x": [1.5, 2.5], "y": []}}
EXTRA_EVENT = {"kind": "B", "hash": b"abcd", "inner": {"flag": True, "ratio": 0.5, "next": {"flag": False, "ratio": 1.0, "next": None}}}


@pytest.mark.parametrize("change", [lacks_all_optional, has_more, reordered, text_types, unions])
def test_other_writers(peer, seed, change):
    r = random.Random(seed)
    schema = evolve(change)
    peer.learn(schema)
    messages, expected = [], []
    for _ in range(20):
        b = random_batch(r)
        b.update(EXTRA_BATCH)
        for e in b["events"]:
            e.update(EXTRA_EVENT)
            if change in (text_types, unions):
                e["body"] = "é line " + e["body"].hex()
                e["attributes"] = {k: v.hex() for k, v in e["attributes"].items()}
            if change is text_types:
                e["trace_id"] = e["trace_id"] or ""
                e["timestamp"] = e["timestamp"] % (1 << 31)
        if change is lacks_all_optional:
            b.update(tenant="default", resource={})
            for e in b["events"]:
                e.update(severity=0, attributes={}, trace_id=None, span_id=None)
        messages.append(encode(b, schema))
        want = {k: v for k, v in b.items() if k not in EXTRA_BATCH}
        want["events"] = [{k: v for k, v in e.items() if k not in EXTRA_EVENT} for e in b["events"]]
        expected.append(hexed(want))
    assert peer.dump(*messages) == expected
    for m in messages[:3]:  # and cut short anywhere, by this path too
        for cut in range(10, len(m), max(1, len(m) // 50)):
            assert peer.dump(m[:cut])[0]["code"] == "TRUNCATED"


def test_schemas_that_do_not_fit(peer, seed):
    b = random_batch(random.Random(seed), 5)
    b["events"] = b["events"] or [{"timestamp": 1, "position": 1, "severity": 0, "body": b"", "attributes": {},
                                   "trace_id": None, "span_id": None}]
    no_body = evolve(lambda s, batch, event: without(event, "body"))
    severity_text = evolve(lambda s, batch, event: retype(event, "severity", "string"))
    other_name = evolve(lambda s, batch, event: s.update(name="Other"))
    no_record = {"type": "array", "items": "long"}
    for schema, word, record in ((no_body, "lacks the field body", b), (severity_text, "field severity is a string", None),
                                 (other_name, "has the name Other", b), (no_record, "no record", [1])):
        peer.learn(schema)
        if record is None:
            record = copy.deepcopy(b)
            for e in record["events"]:
                e["severity"] = "high"
        got = peer.dump(encode(record, schema))[0]
        assert got["code"] == "UNSUPPORTED" and word in got["error"], got
    unknown = evolve(lambda s, batch, event: batch.append({"name": "x", "type": "int"}))
    got = peer.dump(encode(dict(b, x=1), unknown))[0]
    assert got["code"] == "NOTFOUND" and "none of the files" in got["error"]
    null_body = evolve(lambda s, batch, event: retype(event, "body", ["null", "bytes"]))
    peer.learn(null_body)
    b["events"][0]["body"] = None
    got = peer.dump(encode(b, null_body))[0]
    assert got["code"] == "INVALID" and "null" in got["error"]


def test_files_that_are_no_schemas_are_passed_over(peer, seed):
    schema = evolve(reordered)
    for number in range(3):
        peer.learn({"type": "nonsense", "number": number})
    peer.learn(schema)
    peer.learn({"type": "more nonsense"})
    b = random_batch(random.Random(seed), 5)
    assert peer.dump(encode(b, schema)) == [hexed(b)]


def test_a_huge_array_in_an_unknown_field(peer):
    schema = evolve(lambda s, batch, event: batch.insert(0, {"name": "x", "type": {"type": "array", "items": "null"}}))
    peer.learn(schema)
    frame = b"\xc3\x01" + schema_fingerprint(schema)
    out = bytearray()
    n = (1 << 40) << 1
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    got = peer.dump(frame + bytes(out) + b"\0" * 20)[0]
    assert got["code"] == "LIMIT" and "byte 10" in got["error"], got


def test_a_deep_nest(peer):
    schema = evolve(lambda s, batch, event: batch.insert(0, {"name": "x", "type": {
        "type": "record", "name": "Nest", "fields": [{"name": "next", "type": ["null", "Nest"]}]}}))
    peer.learn(schema)
    got = peer.dump(b"\xc3\x01" + schema_fingerprint(schema) + b"\x02" * 100000 + b"\0" * 100)[0]
    assert got["code"] == "LIMIT" and "deep" in got["error"], got


def test_fastavro_agrees_that_the_schema_is_valid():
    fastavro.parse_schema(copy.deepcopy(LOG_BATCH))
    assert parsed(LOG_BATCH)

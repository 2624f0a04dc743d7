"""Records in fastavro's hands: an Avro implementation that is not ours."""
import copy
import io
import json
import struct
from pathlib import Path

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

ROOT = Path(__file__).resolve().parents[3]
LOG_BATCH = json.loads((ROOT / "schemas/log_batch.avsc").read_text("utf-8"))
DEAD_LETTER = json.loads((ROOT / "schemas/dead_letter.avsc").read_text("utf-8"))


def schema_fingerprint(schema):
    """CRC-64-AVRO as the eight bytes of the single-object frame."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def parsed(schema):
    return fastavro.parse_schema(copy.deepcopy(schema))


_parsed = {"batch": parsed(LOG_BATCH), "letter": parsed(DEAD_LETTER)}
_fingerprints = {"batch": schema_fingerprint(LOG_BATCH), "letter": schema_fingerprint(DEAD_LETTER)}


def _decode(message, kind):
    assert message[:2] == b"\xc3\x01", message[:2]
    assert message[2:10] == _fingerprints[kind], message[2:10].hex()
    stream = io.BytesIO(message[10:])
    got = fastavro.schemaless_reader(stream, _parsed[kind])
    assert not stream.read(1), "bytes are left over"
    return got


def decode_batch(message):
    return _decode(message, "batch")


def decode_dead_letter(message):
    return _decode(message, "letter")


def encode(record, schema=LOG_BATCH, frame="single", schema_id=1):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed(schema), record)
    if frame == "single":
        return b"\xc3\x01" + schema_fingerprint(schema) + out.getvalue()
    return b"\x00" + struct.pack(">I", schema_id) + out.getvalue()

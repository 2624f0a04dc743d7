"""Log files with anything in them, through the whole of standalone and back, byte for byte."""
import json
import os
import random
import re
import urllib.parse
import urllib.request

import grpc
import pytest

from protos import load
from standalone import Standalone
from waiting import poll_until

pb, stubs = load("schemas/router.proto")


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def make(procs, bin_dir, tmp_path, logs):
    def start(*options):
        return Standalone(procs, bin_dir, tmp_path / "data", tail=[str(logs / "*.log")], options=options).start()
    return start


def raw_messages(server, query, other=None):
    """The messages as gRPC has them: bytes (JSON has no place for bytes that are no UTF-8). With another
    field, pairs."""
    with grpc.insecure_channel(server.grpc) as channel:
        rows = []
        for answer in stubs.QueryStub(channel).Search(pb.SearchRequest(query=query, limit=100000), timeout=60):
            if answer.WhichOneof("kind") == "end":
                assert not answer.end.missing
            for row in answer.rows.rows:
                fields = {f.name: f.value for f in row.fields}
                rows.append((fields["_msg"], fields[other]) if other else fields["_msg"])
    return rows


def as_json_has_it(line):
    """Each byte that is no UTF-8 becomes U+FFFD, by whatever grouping."""
    return re.sub("\ufffd+", "\ufffd", line.decode("utf-8", "replace"))


def pieces_of(server, name):
    """The rows of a file in the order of their positions, which is the order of answers at one time."""
    return server.query(f'{{file=~".*/{name}"}}', limit=100000)


def test_bytes_come_back(make, logs):
    """NUL, invalid UTF-8, control characters, CR, long runs, and words of no template."""
    lines = [b"nul \0 in \0\0 the middle", b"\0", b"bad \xff\xfe\x80\xc3( utf-8", b"\xed\xa0\x80 surrogate", b"tab\tand\rcr\r",
             b"esc \x1b[31mred\x1b[0m", b"\xef\xbb\xbfbom", "smörgås \U0001f600 \u202ertl".encode(), b" leading and trailing ",
             b'quotes " \' ` and \\ \\n \\x00', b"%s%n%d ${env:HOME} {{x}}", b"\x7f\x01\x02\x1f", b"a" * 5000, b"\xff" * 300,
             b'{"json":"body","n":1}', b"line sep \xe2\x80\xa8 and nel \xc2\x85 end"]
    (logs / "odd.log").write_bytes(b"".join(x + b"\n" for x in lines))
    s = make()
    s.wait_count("*", len(lines))
    for _ in range(2):  # from memory, and from the disk after a restart
        got = raw_messages(s, "*")
        assert sorted(got) == sorted(lines), set(lines) ^ set(got)
        # answers over HTTP are JSON in UTF-8, whatever the log held
        text = s.get("/select/logsql/query", query="*")[2].decode("utf-8")
        shown = [re.sub("\ufffd+", "\ufffd", json.loads(row)["_msg"]) for row in text.split("\n") if row]
        assert sorted(shown) == sorted(map(as_json_has_it, lines))
        # and what a terminal is shown steers none
        for line in s.cli("search", "*").split("\n"):
            assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e]", line), line
        s.stop()
        s.start()
    s.stop()


def test_random_bytes_come_back(make, logs, seed):
    rnd = random.Random(seed)
    lines = []
    for i in range(400):
        n = rnd.choice([1, 3, 10, 50, 300, 4000])
        line = bytes(b for b in rnd.randbytes(n) if b != 10)
        lines.append(b"#%d " % i + line)
    # a file whose beginning is no text is left out (skip_binary)
    (logs / "random.log").write_bytes(b"a line of text before\n" * 500 + b"".join(x + b"\n" for x in lines))
    s = make()
    poll_until(lambda: s.count("*") >= 500 + len(lines), 20, lambda: f"{s.count('*')} of {500 + len(lines)}")
    found = set(raw_messages(s, "*"))
    missing = [x for x in lines if x not in found]
    assert not missing, (len(missing), missing[:3])
    s.stop()


def test_long_lines_are_split_and_marked(make, logs, seed):
    """A line over max_line_bytes comes as pieces, each marked, none lost, in order."""
    rnd = random.Random(seed)
    long = "".join(rnd.choices("abcdefghij klmnop=", k=(3 << 20) + 12345)).encode()
    (logs / "long.log").write_bytes(b"short before\n" + long + b"\nshort after\n")
    s = make()
    s.wait_count('"short after"', 1)
    pieces = pieces_of(s, "long.log")
    assert pieces[0]["_msg"] == "short before" and pieces[-1]["_msg"] == "short after"
    assert all("telescope.split" not in p for p in (pieces[0], pieces[-1]))
    middle = pieces[1:-1]
    assert len(middle) >= 3 and all("telescope.split" in p for p in middle), [list(p) for p in middle]
    assert "".join(p["_msg"] for p in middle).encode() == long
    s.stop()


def test_files_that_vanish_and_shrink(make, logs):
    s = make()
    # vanishes while it is read
    with open(logs / "gone.log", "wb") as f:
        f.write(b"".join(b"gone %d\n" % i for i in range(1000)))
        f.flush()
        s.wait_count("gone", 1)
        (logs / "gone.log").unlink()
        f.write(b"gone 1000\n")
    s.wait_count("gone", 1001)
    # shrinks to nothing and grows again: what is written after is read
    shrinks = logs / "shrinks.log"
    shrinks.write_bytes(b"".join(b"before %d with some text\n" % i for i in range(1000)))
    s.wait_count("before", 1000)
    os.truncate(shrinks, 0)
    with open(shrinks, "ab") as f:
        f.write(b"after 0\nafter 1\n")
    s.wait_count("after", 2)
    # becomes a folder, a fifo, a dangling link; the others go on
    (logs / "folder.log").mkdir()
    os.mkfifo(logs / "fifo.log")
    (logs / "dangling.log").symlink_to(logs / "nothing")
    (logs / "loop.log").symlink_to(logs / "loop.log")
    (logs / "empty.log").touch()
    (logs / "last.log").write_bytes(b"still here\n")
    s.wait_count('"still here"', 1)
    assert s.count("gone") == 1001 and s.count("before") == 1000 and s.count("after") == 2
    s.stop()
    s.start()
    s.wait_count('"still here"', 1)
    assert s.count("*") == 1001 + 1000 + 2 + 1
    s.stop()


def test_names_of_files_are_anything(make, logs):
    names = ["with space.log", 'quo"te.log', "back\\slash.log", "newline\nname.log", "ümläut.log", "-o.log", "{a,b}.log",
             "$(touch x).log", "x" * 200 + ".log"]
    for i, name in enumerate(names):
        (logs / name).write_bytes(b"named %d\n" % i)
    (logs / os.fsdecode(b"invalid \xff name.log")).write_bytes(b"named invalid\n")
    s = make()
    s.wait_count("named", len(names) + 1)
    got = {r["_msg"]: r["file"] for r in s.query("named")}
    for i, name in enumerate(names):
        assert got[f"named {i}"] == str(logs / name), got[f"named {i}"]
    for i, name in enumerate(names):
        quoted = json.dumps(str(logs / name), ensure_ascii=False)
        assert [r["_msg"] for r in s.query(f"{{file={quoted}}}")] == [f"named {i}"]
        assert [r["_msg"] for r in s.query(f"file:={quoted}")] == [f"named {i}"]
    s.stop()


def test_words_of_odd_lines_are_found(make, logs):
    """Bytes that are no text hide no words beside them."""
    (logs / "odd.log").write_bytes(b"start of text\n" * 50 + b"\xff\xfe needle1 \xff next\n" + b"x \0needle2\0 y\n" +
                                   b"\x01\x02needle3\x03\n" + b"needle4" + b"z" * 100000 + b"\n")
    s = make()
    s.wait_count("*", 54)
    for query in ("needle1", "needle2", "needle3", "needle4*", "~needle4z", '"of text"'):
        assert s.count(query) == (50 if "text" in query else 1), query
    s.stop()


def test_import_of_odd_lines(make, tmp_path):
    """`telescope import` of what is no JSON, no text, empty, cut short."""
    s = make()
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    plain = tmp_path / "plain.txt"
    plain.write_bytes(b"first\n\n\nnul\0byte\nbad \xff utf-8\nlast without an end")
    s.cli("import", str(plain), env=env)
    s.wait_count("*", 4)
    assert sorted(raw_messages(s, "*")) == sorted(
        [b"first", b"nul\0byte", b"bad \xff utf-8", b"last without an end"])
    # longer than what one event takes, and than what is read at once: split, marked, nothing lost
    long = b"2026-03-04T05:06:07Z " + b"\xc3\xa9 \x01\xff" * (1200 << 10)
    (tmp_path / "long.txt").write_bytes(b"short\n" + long + b"\nshort\n")
    s.cli("import", str(tmp_path / "long.txt"), env=env)
    s.wait_count("telescope.split:*", 6)
    pieces = raw_messages(s, "telescope.split:*", "telescope.split")
    pieces.sort(key=lambda p: int(p[1].split(b"/")[0]))  # requests may go to different partitions
    assert [p[1] for p in pieces[:2]] == [b"1/?", b"2/?"] and pieces[-1][1] == b"%d/%d" % (len(pieces), len(pieces))
    assert b"".join(p[0] for p in pieces) == long
    assert {r["_time"] for r in s.query("telescope.split:* | fields _time")} == {"2026-03-04T05:06:07Z"}
    assert s.count("short") == 2
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_bytes(b'{"_msg":"good 1"}\n{"_msg":"cut\n[1,2]\n"text"\n\n{}\n\xff\xfe\n{"_msg":"good 2","deep":' + b"[" * 5000 +
                      b"]" * 5000 + b"}\n" + b'{"_msg":"good 3"}')
    done = s.cli("import", str(mixed), env=env)
    s.wait_count("good", 2)
    assert s.count('"good 1" or "good 3"') == 2, done
    empty = tmp_path / "empty"
    empty.touch()
    s.cli("import", str(empty), env=env)
    s.stop()


def test_live_tail_of_odd_lines(make, logs):
    s = make()
    request = urllib.request.Request(s.url + "/select/logsql/tail?" + urllib.parse.urlencode({"query": "*"}))
    with urllib.request.urlopen(request, timeout=20) as r:
        (logs / "odd.log").write_bytes(b"bad \xff\xfe here\n\"quoted\"\n")
        rows = [json.loads(r.readline().decode("utf-8")) for _ in range(2)]
    assert rows[1]["_msg"] == '"quoted"' and rows[0]["_msg"].startswith("bad ")
    s.stop()

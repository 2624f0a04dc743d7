#!/usr/bin/env python3
"""Random LogsQL queries against a naive evaluator.

The generator makes a query as text together with what it means, as Python functions over rows (dicts
of text), written from the documentation and sharing nothing with the engine. Usage:

    random_queries.py EVAL_PROGRAM [--seed N] [--queries N]
"""
import argparse
import functools
import json
import math
import random
import re
import subprocess
import sys
import tempfile
import unicodedata

FIELDS = ["_msg", "app", "n", "size", "dur", "ip", "user"]
WORDS = ["error", "Error", "warn", "open", "file", "foo", "bar", "foo_bar", "тест", "größe", "GET", "200", "404",
         "x1", "a", "é"]
GLUE = [" ", " ", " ", ": ", ".", "/", "-", "=", '"', ", ", "(", "\n", "—"]


def is_word(c):
    return c == "_" or unicodedata.category(c) in ("Lu", "Ll", "Lt", "Lm", "Lo", "Nd")


# ---- values ------------------------------------------------------------------------------------------------

def decimal(s):
    m = re.fullmatch(r"(-?)(0|[1-9][0-9_]*)(?:\.([0-9_]+))?", s)
    return float(s.replace("_", "")) if m and len(s) < 27 else None


UNITS = {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9, "d": 86400e9, "w": 604800e9}
SIZES = {"K": 1e3, "KB": 1e3, "M": 1e6, "MB": 1e6, "KiB": 1024, "Ki": 1024, "MiB": 1 << 20, "B": 1}


def with_units(s, units):
    sign, total, rest = 1, 0, s
    if rest.startswith("-"):
        sign, rest = -1, rest[1:]
    if not rest:
        return None
    while rest:
        m = re.match(r"([0-9][0-9.]*)([A-Za-zµ]+)", rest)
        if not m or decimal(m[1]) is None:
            return None
        unit = next((u for u in sorted(units, key=len, reverse=True) if m[2].startswith(u)), None)
        if unit is None:
            return None
        total += int(decimal(m[1]) * units[unit])
        rest = rest[len(m[1]) + len(unit):]
    return float(sign * total)


def ipv4(s):
    parts = s.split(".")
    if len(parts) != 4 or not all(re.fullmatch("[0-9]{1,3}", p) and int(p) < 256 for p in parts):
        return None
    return sum(int(p) << 8 * (3 - i) for i, p in enumerate(parts))


def number(s):
    for parse in (decimal, lambda v: with_units(v, UNITS), lambda v: with_units(v, SIZES)):
        f = parse(s)
        if f is not None:
            return f
    return float(s) if re.fullmatch(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)", s) else None  # 007, 404., .5


def any_number(s):
    f = number(s)
    return f if f is not None else ipv4(s)


def show(f):
    if math.isnan(f):
        return "NaN"
    if math.isinf(f):
        return "+Inf" if f > 0 else "-Inf"
    if f == int(f) and abs(f) < 1e15:
        return "-0" if f == 0 and math.copysign(1, f) < 0 else str(int(f))
    return plain(f)


def plain(f):
    from decimal import Decimal
    return format(Decimal(repr(f)), "f")


def embed(s):
    """JSON inside a value"""
    return json.dumps(s, ensure_ascii=False).replace("'", "\\u0027").replace("<", "\\u003c")


def natural_cmp(a, b):
    """runs of digits by value, then by length, and before all else"""
    pa, pb = re.findall(rb"[0-9]+|[^0-9]", a.encode()), re.findall(rb"[0-9]+|[^0-9]", b.encode())
    for x, y in zip(pa, pb):
        if x.isdigit() and y.isdigit():
            if int(x) != int(y):
                return -1 if int(x) < int(y) else 1
            if len(x) != len(y):
                return -1 if len(x) < len(y) else 1
        elif x.isdigit() != y.isdigit():
            return -1 if x.isdigit() else 1
        elif x != y:
            return -1 if x < y else 1
    if len(pa) != len(pb):
        return -1 if len(pa) < len(pb) else 1
    return (a.encode() > b.encode()) - (a.encode() < b.encode())


def order_cmp(a, b):
    def cls(v):
        return 0 if v == "" else 1 if any_number(v) is not None else 2
    ca, cb = cls(a), cls(b)
    if ca != cb:
        return ca - cb
    if ca == 1:
        x, y = any_number(a), any_number(b)
        return (x > y) - (x < y)
    return natural_cmp(a, b) if ca == 2 else 0


def find_phrase(s, p, start=0, prefix=False):
    at = start - 1
    while True:
        at = s.find(p, at + 1)
        if at < 0:
            return -1
        if is_word(p[0]) and at > 0 and is_word(s[at - 1]):
            continue
        end = at + len(p)
        if not prefix and is_word(p[-1]) and end < len(s) and is_word(s[end]):
            continue
        return at


def has_phrase(s, p, prefix=False):
    if p == "":
        return s != "" if prefix else s == ""
    return find_phrase(s, p, 0, prefix) >= 0


# ---- random data -------------------------------------------------------------------------------------------

class Generator:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def text(self, most=6):
        out = []
        for _ in range(self.r.randint(0, most)):
            out += [self.r.choice(WORDS), self.r.choice(GLUE)]
        return "".join(out[:-1]) if out and self.r.random() < 0.7 else "".join(out)

    def value(self, field):
        r = self.r
        if r.random() < 0.25:
            return ""
        if field == "_msg":
            return self.text()
        if field == "app":
            return r.choice(["web", "db", "api-1", "web 2"])
        if field == "user":
            return r.choice(["bob", "eve", "Bob", "a10", "a9"])
        if field == "ip":
            return "10.0.%d.%d" % (r.randint(0, 2), r.randint(0, 20))
        if field == "dur":
            return r.choice(["5ms", "70us", "1h", "2s", "1.5s", "1h5m", "-3s", "soon"])
        if field == "size":
            return r.choice(["10KiB", "512", "1.5", "2MB", "0", "-7", "007", "1_000", "x"])
        return r.choice([str(r.randint(-20, 20)), "%.1f" % r.uniform(-3, 3), "n/a"])

    def rows(self, count):
        rows = []
        for i in range(count):
            row = {f: self.value(f) for f in FIELDS}
            row["_time"] = "2026-03-%02dT%02d:00:%02dZ" % (1 + i % 9, i // 60 % 24, i % 60)
            row = {k: v for k, v in row.items() if v != ""}
            rows.append(row)
        times = set()
        for row in rows:  # times are unique, so that orders are
            while row["_time"] in times:
                row["_time"] = "2026-03-%02dT%02d:%02d:%02dZ" % (
                    self.r.randint(1, 28), self.r.randint(0, 23), self.r.randint(0, 59), self.r.randint(0, 59))
            times.add(row["_time"])
        return rows

    # ---- filters: (text, function of a row) ------------------------------------------------------------------

    def quote(self, s):
        return '"' + s.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    def leaf(self):
        r, field = self.r, self.r.choice(FIELDS)
        name = "" if field == "_msg" and r.random() < 0.7 else field + ":"
        get = lambda row: row.get(field, "")
        kind = r.randint(0, 15)
        phrase = (self.text(2) if r.random() < 0.6 else self.value(field)) or r.choice(WORDS)
        q = self.quote(phrase)
        if kind <= 2:
            return name + q, lambda row: has_phrase(get(row), phrase)
        if kind == 3:
            p = phrase[:r.randint(1, len(phrase))]
            return name + self.quote(p) + "*", lambda row: has_phrase(get(row), p, True)
        if kind == 4:
            return name + "i(" + q + ")", lambda row: has_phrase(get(row).lower(), phrase.lower())
        if kind == 5:
            return name + "=" + q, lambda row: get(row) == phrase
        if kind == 6:
            p = phrase[:r.randint(0, len(phrase))]
            return name + "=" + self.quote(p) + "*", lambda row: get(row).startswith(p)
        if kind == 7:
            values = [self.value(field) for _ in range(r.randint(0, 3))]
            text = name + "in(" + ",".join(map(self.quote, values)) + ")"
            return text, lambda row: get(row) in values
        if kind == 8:
            values = [r.choice(WORDS) for _ in range(r.randint(1, 3))]
            fn, test = r.choice([("contains_all", all), ("contains_any", any)])
            return (name + fn + "(" + ",".join(map(self.quote, values)) + ")",
                    lambda row: test(has_phrase(get(row), v) for v in values))
        if kind == 9:
            values = [r.choice(WORDS) for _ in range(r.randint(1, 3))]

            def seq(row):
                s = get(row)
                for v in values:
                    at = find_phrase(s, v)
                    if at < 0:
                        return False
                    s = s[at + len(v):]
                return True
            return name + "seq(" + ",".join(map(self.quote, values)) + ")", seq
        if kind == 10:
            pattern = r.choice(["err", "[0-9]+", "^GET", "o+", "foo|bar", "(?i)ERROR", "a.b", "^$", "f.*e", "x?"])
            return name + "~" + self.quote(pattern), lambda row: re.search(pattern, get(row)) is not None
        if kind == 11:
            bound = r.choice(["-3", "0", "1.5", "100", "1KiB", "1s", "10.0.1.5"])
            b = any_number(bound)
            op = r.choice([">", ">=", "<", "<="])

            def compare(row):
                v = any_number(get(row))
                if v is None:
                    return False
                return {">": v > b, ">=": v >= b, "<": v < b, "<=": v <= b}[op]
            return field + ":" + op + bound, compare
        if kind == 12:
            lo, hi = sorted([r.randint(0, 12), r.randint(0, 30)])
            return name + "len_range(%d, %d)" % (lo, hi), lambda row: lo <= len(get(row)) <= hi
        if kind == 13:
            other = r.choice(FIELDS)
            return field + ":eq_field(" + other + ")", lambda row: get(row) == row.get(other, "")
        if kind == 14:
            lo, hi = self.value(field), self.value(field)
            return (name + "string_range(" + self.quote(lo) + "," + self.quote(hi) + ")",
                    lambda row: lo.encode() <= get(row).encode() < hi.encode())
        return ("ip:ipv4_range(10.0.1.0, 10.0.2.7)",
                lambda row: (ipv4(row.get("ip", "")) or 0) >= ipv4("10.0.1.0") and
                ipv4(row["ip"]) <= ipv4("10.0.2.7"))

    def filter(self, depth=3):
        r = self.r
        if depth == 0 or r.random() < 0.35:
            return self.leaf()
        kind = r.randint(0, 2)
        a, fa = self.filter(depth - 1)
        if kind == 0:
            return "!(" + a + ")", lambda row: not fa(row)
        b, fb = self.filter(depth - 1)
        if kind == 1:
            return "(" + a + r.choice([" ", " and "]) + b + ")", lambda row: fa(row) and fb(row)
        return "(" + a + " or " + b + ")", lambda row: fa(row) or fb(row)

    # ---- pipes: (text, function of a list of rows, is the order fixed) ---------------------------------------

    def sort(self):
        r = self.r
        names = r.sample(FIELDS[1:], r.randint(1, 2))
        desc = [r.random() < 0.5 for _ in names]
        limit, offset = r.choice([0, 0, 1, 5]), r.choice([0, 0, 2])
        text = "sort by (" + ", ".join(n + (" desc" if d else "") for n, d in zip(names, desc)) + ")"
        if offset:
            text += " offset %d" % offset
        if limit:
            text += " limit %d" % limit

        def run(rows):
            def compare(a, b):
                for n, d in zip(names, desc):
                    c = order_cmp(a.get(n, ""), b.get(n, ""))
                    if c:
                        return -c if d else c
                c = (a["_time"] > b["_time"]) - (a["_time"] < b["_time"])
                return -c if desc[-1] else c
            out = sorted(rows, key=functools.cmp_to_key(compare))[offset:]
            return out[:limit] if limit else out
        return text, run

    def stats(self):
        r = self.r
        by = r.sample(["app", "user", "n"], r.randint(0, 2))
        field = r.choice(FIELDS[1:])
        cond, holds = self.leaf()
        text = ("stats " + ("by (" + ", ".join(by) + ") " if by else "") +
                "count() if (" + cond + ") c, count(%s) f, sum(%s) s, min(%s) lo, max(%s) hi, " % ((field,) * 4) +
                "count_uniq(%s) u, uniq_values(%s) v, sum_len(%s) l, avg(%s) a" % ((field,) * 4))

        def run(rows):
            groups = {}
            for row in rows:
                groups.setdefault(tuple(row.get(b, "") for b in by), []).append(row)
            if not by and not groups:
                groups[()] = []
            out = []
            for key, members in groups.items():
                values = [m.get(field, "") for m in members]
                numbers = [f for f in map(number, values) if f is not None]
                extreme = sorted(sorted(values, key=str.encode), key=functools.cmp_to_key(order_cmp))
                row = dict(zip(by, key))
                row["c"] = str(sum(map(holds, members)))
                row["f"] = str(sum(v != "" for v in values))
                row["s"] = show(math.fsum(numbers)) if numbers else "NaN"
                row["a"] = show(math.fsum(numbers) / len(numbers)) if numbers else "NaN"
                row["lo"], row["hi"] = (extreme[0], extreme[-1]) if extreme else ("", "")
                unique = sorted(set(values) - {""}, key=functools.cmp_to_key(
                    lambda x, y: order_cmp(x, y) or natural_cmp(x, y)))
                row["u"] = str(len(unique))
                row["v"] = "[" + ",".join(map(embed, unique)) + "]"
                row["l"] = str(sum(len(v.encode()) for v in values))
                out.append(row)
            return out
        return text, run

    def counted(self):
        r = self.r
        by = r.sample(["app", "user", "size"], r.randint(1, 2))
        top = r.random() < 0.5
        limit = r.randint(1, 6)
        text = ("top %d" % limit if top else "uniq") + " by (" + ", ".join(by) + ")" + ("" if top else " with hits")

        def run(rows):
            hits = {}
            for row in rows:
                key = tuple(row.get(b, "") for b in by)
                hits[key] = hits.get(key, 0) + 1
            out = sorted(hits.items(), key=lambda kv: (-kv[1], [k.encode() for k in kv[0]]))
            return [dict(zip(by, k), hits=str(n)) for k, n in (out[:limit] if top else out)]
        return text, run, top

    def row_pipe(self):
        r = self.r
        kind, field = r.randint(0, 15), r.choice(FIELDS)

        def each(fn):
            return lambda rows: [fn(dict(row)) for row in rows]
        if kind == 0:
            text, fn = self.filter(2)
            return "filter " + text, lambda rows: [x for x in rows if fn(x)]
        if kind == 1:
            return "copy " + field + " as x", each(lambda x: {**x, "x": x.get(field, "")})
        if kind == 2:
            return "len(" + field + ") as x", each(lambda x: {**x, "x": str(len(x.get(field, "").encode()))})
        if kind == 3:
            return ('format "<%s>|<q:user>" as x' % field, each(
                lambda x: {**x, "x": x.get(field, "") + "|" + embed(x.get("user", ""))}))
        if kind == 4:
            old, new = r.choice(["o", "er", " ", "тест"]), r.choice(["", "XX"])
            return ('replace ("%s", "%s") at %s' % (old, new, field),
                    each(lambda x: {**x, field: x.get(field, "").replace(old, new)}))
        if kind == 5:
            def calc(x):
                v = any_number(x.get("size", ""))
                return {**x, "x": "NaN" if v is None else show(v * 2 + 1)}
            return "math size * 2 + 1 as x", each(calc)
        if kind == 6:
            def cut(x):
                s = x.get(field, "")
                at = s.find("o")
                return {**x, "x": s[at + 1:] if at >= 0 else ""}
            return 'extract "o<plain:x>" from ' + field, each(cut)
        if kind == 7:
            other = r.choice(FIELDS)
            return ("delete %s, %s" % (field, other),
                    each(lambda x: {k: v for k, v in x.items() if k not in (field, other)}))
        if kind == 8:
            def unpack(x):
                return {**x, "j": '{"x":%s,"y":{"z":%s}}' % (embed(x.get(field, "")), embed(x.get("n", ""))),
                        "x": x.get(field, ""), "y.z": x.get("n", "")}
            return ("format '{\"x\":<q:%s>,\"y\":{\"z\":<q:n>}}' as j | unpack_json from j fields (x, y*)" % field,
                    each(unpack))
        if kind == 9:
            def split(x):
                text = "".join(c if is_word(c) else " " for c in x.get(field, ""))
                return {**x, "x": "[" + ",".join(map(embed, text.split())) + "]"}
            return "unpack_words from " + field + " as x", each(split)
        if kind == 10:
            return ('replace_regexp ("[0-9]+", "<$0>") at ' + field,
                    each(lambda x: {**x, field: re.sub("[0-9]+", r"<\g<0>>", x.get(field, ""))}))
        if kind == 11:
            def search(x):
                m = re.search("([a-z]+)[0-9]", x.get(field, ""))
                return {**x, "x": m[1] if m else ""}
            return 'extract_regexp "(?P<x>[a-z]+)[0-9]" from ' + field, each(search)
        if kind == 12:
            cond, holds = self.leaf()
            return ('format if (' + cond + ') "yes" as ' + field,
                    each(lambda x: {**x, field: "yes"} if holds(x) else x))
        if kind == 13:
            return ("pack_json fields (" + field + ") as x", each(
                lambda x: {**x, "x": "{" + (embed(field) + ":" + embed(x[field]) if x.get(field) else "") + "}"}))
        if kind == 14:
            def calc2(x):
                a, b = any_number(x.get("n", "")), any_number(x.get("size", ""))
                if a is None and b is None:
                    return {**x, "x": "NaN"}
                return {**x, "x": show(max(v for v in (a, b) if v is not None))}
            return "math max(n, size) as x", each(calc2)
        return "rename " + field + " as x", each(
            lambda x: {**{k: v for k, v in x.items() if k != field}, "x": x.get(field, "")})

    def cut(self):
        """first and last per partition"""
        r = self.r
        name, by = r.choice(["n", "size", "dur"]), r.choice(["app", "user", ""])
        count, last = r.randint(1, 3), r.random() < 0.5
        text = "%s %d by (%s%s)" % ("last" if last else "first", count, name, ", _time")
        text += " partition by (" + by + ")" if by else ""

        def run(rows):
            def compare(a, b):
                c = order_cmp(a.get(name, ""), b.get(name, ""))
                c = c or (a.get("_time", "") > b.get("_time", "")) - (a.get("_time", "") < b.get("_time", ""))
                return -c if last else c
            groups = {}
            for row in sorted(rows, key=functools.cmp_to_key(compare)):
                groups.setdefault(row.get(by, ""), []).append(row)
            return [row for group in groups.values() for row in group[:count]]
        return text, run

    def combined(self):
        """join and union"""
        r = self.r
        cond, holds = self.leaf()
        if r.random() < 0.5:
            return ("union (" + cond + ")",
                    lambda rows: rows + [dict(x) for x in self.all_rows if holds(x)])
        inner = r.random() < 0.5

        def join(rows):
            counts = {}
            for x in self.all_rows:
                if holds(x):
                    counts[x.get("user", "")] = counts.get(x.get("user", ""), 0) + 1
            return [{**x, "p.c": str(counts[u])} if u in counts else x for x in rows
                    for u in [x.get("user", "")] if u in counts or not inner]
        return ("join by (user) (" + cond + ' | stats by (user) count() c) prefix "p."' + (" inner" if inner else ""),
                join)

    def scored(self):
        """BM25, as score.h has the formula."""
        words = self.r.sample(["error", "open", "file", "foo", "GET", "тест"], 2)

        def tokens(row):
            return "".join(c if is_word(c) else " " for c in row.get("_msg", "")).split()

        def run(rows):
            docs = [tokens(row) for row in rows]
            average = sum(map(len, docs)) / len(docs)
            out = []
            for row, doc in zip(rows, docs):
                score = 0
                for w in words:
                    df, tf = sum(w in d for d in docs), doc.count(w)
                    idf = math.log(1 + (len(docs) - df + 0.5) / (df + 0.5))
                    score += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(doc) / average))
                if any(w in doc for w in words):
                    out.append({"_time": row["_time"], "x": show(round(score, 6))})
            return out
        return " or ".join(words) + " | math round(_score, 0.000001) as x | fields _time, x", run, False

    def query(self):
        """text, function over rows, does the order count"""
        r = self.r
        if r.random() < 0.03:
            return self.scored()
        text, fn = self.filter() if r.random() < 0.85 else ("*", lambda row: True)
        steps, ordered = [lambda rows: [x for x in rows if fn(x)]], False
        for _ in range(r.choice([0, 1, 1, 2])):
            t, run = self.row_pipe()
            text += " | " + t
            steps.append(run)
        kind = r.randint(0, 5)
        if kind == 4 and "_time" not in text:
            t, run = self.cut()
            text += " | " + t
            steps.append(run)
        elif kind == 5:
            t, run = self.combined()
            text += " | " + t
            steps.append(run)
        elif kind == 0 and "as _time" not in text:
            t, run = self.sort()
            text += " | " + t
            steps.append(run)
            ordered = True
        elif kind == 1:
            t, run = self.stats()
            text += " | " + t
            steps.append(run)
        elif kind == 2:
            t, run, ordered = self.counted()
            text += " | " + t
            steps.append(run)
        if r.random() < 0.2:
            names = r.sample(["app", "user", "x", "c", "s", "hits", "_msg"], 3)
            text += " | fields " + ", ".join(names)
            steps.append(lambda rows: [{k: v for k, v in x.items() if k in names} for x in rows])
        return text, lambda rows: functools.reduce(lambda rs, step: step(rs), steps, rows), ordered


def canonical(rows):
    rows = [{k: v for k, v in row.items() if v != ""} for row in rows]
    return [json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows if row]


def close(a, b):
    """Equal but for the last digits of sums."""
    if a == b:
        return True
    x, y = json.loads(a), json.loads(b)
    if x.keys() != y.keys():
        return False
    for k in x:
        if x[k] == y[k]:
            continue
        if k not in ("s", "a", "x"):
            return False
        try:
            if not math.isclose(float(x[k]), float(y[k]), rel_tol=1e-12):
                return False
        except ValueError:
            return False
    return True


def main():
    args = argparse.ArgumentParser()
    args.add_argument("program")
    args.add_argument("--seed", type=int, default=None)
    args.add_argument("--queries", type=int, default=1500)
    o = args.parse_args()
    seed = o.seed if o.seed is not None else random.SystemRandom().randint(0, 2**32)
    print("seed", seed, flush=True)
    g = Generator(seed)
    rows, bad = g.rows(60), 0
    g.all_rows = rows
    queries = [g.query() for _ in range(o.queries)]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
        f.flush()
        text = "".join((">" if ordered else "=") + " " + q + "\n" for q, _, ordered in queries)
        run = subprocess.run([o.program, f.name], input=text.encode(), stdout=subprocess.PIPE, timeout=300)
    answers = run.stdout.decode().splitlines()
    if run.returncode or len(answers) != len(queries):
        print("the program ended with", run.returncode, "after", len(answers), "answers; the query was",
              queries[min(len(answers), len(queries) - 1)][0])
        return 1
    for (query, fn, ordered), line in zip(queries, answers):
        got = json.loads(line)
        want = canonical(fn(rows))
        have = canonical(got["rows"]) if "rows" in got else None
        if have is not None and not ordered:
            want, have = sorted(want), sorted(have)
        if have is not None and len(have) == len(want) and all(map(close, have, want)):
            continue
        bad += 1
        if bad <= 10:
            print("query:", query)
            print("  error:", got["error"]) if "error" in got else None
            for a, b in list(zip(have or [], want))[:200]:
                if not close(a, b):
                    print("  came", a, "\n  want", b)
                    break
            if have is not None and len(have) != len(want):
                print("  %d rows came, %d wanted" % (len(have), len(want)))
                print("  only came:", [x for x in have if x not in want][:3])
                print("  only wanted:", [x for x in want if x not in have][:3])
    print(len(queries), "queries,", bad, "differ")
    return bad > 0


sys.exit(main())

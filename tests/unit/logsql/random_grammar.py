#!/usr/bin/env python3
"""Random queries over the whole language: every pipe, stats function, filter and option.

Each query must parse; what it prints must parse and print as itself; and it must give the same rows
whole, in small blocks, split over shards and as printed (the program sees to that). Where rows may
differ from run to run (rand(), a limit without an order, samples) they need only come. Usage:

    random_grammar.py EVAL_PROGRAM [--seed N] [--queries N]
"""
import argparse
import json
import random
import subprocess
import sys
import tempfile

FIELDS = ["_msg", "app", "n", "size", "dur", "ip", "js", "tags", "lf", "a.b", "_stream", "_stream_id", "from", "by",
          "limit", "тип", "x y", "no"]
WORDS = ["error", "GET", "foo", "bar", "web", "a-b", "it's", "тест", "x1", "10.0.0.1", "200", "and", "stats", "a b",
         "", "(", "q\"q", "c\\d", "not", "offset", "desc", "{a}", "5m", "=x", "!", "*"]
NUMBERS = ["0", "1", "-3", "2.5", "10KiB", "5ms", "1e3", "0x1f", "1_000", "10.0.0.7", "inf"]


class Grammar:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.any = False  # may the rows differ from run to run?

    # ---- pieces --------------------------------------------------------------------------------------------

    def pick(self, *options):
        return self.r.choice(options)

    def maybe(self, text, p=0.5):
        if self.r.random() >= p:
            return ""
        return text() if callable(text) else text

    def quoted(self, s):
        kind = self.r.randint(0, 2)
        if kind == 0 and "`" not in s:
            return "`" + s + "`"
        q = "'" if kind == 1 else '"'
        return q + s.replace("\\", "\\\\").replace(q, "\\" + q) + q

    def word(self):
        w = self.r.choice(WORDS)
        plain = w.isalnum() and w not in ("and", "stats", "not", "offset")
        return w if plain and self.r.random() < 0.7 else self.quoted(w)

    def field(self):
        f = self.r.choice(FIELDS)
        return f if f.replace("_", "").isalnum() and f not in ("by", "limit") and self.r.random() < 0.8 else self.quoted(f)

    def pattern(self):
        return self.pick("a*", "*", "_*", "n*") if self.r.random() < 0.15 else self.field()

    def fields(self, most=3, pattern=False):
        return ", ".join(self.pattern() if pattern else self.field() for _ in range(self.r.randint(1, most)))

    def distinct(self, most=2):
        return ", ".join(self.r.sample(["app", "n", "dur", "ip", "tags", "'a.b'"], self.r.randint(1, most)))

    def number(self):
        return self.r.choice(NUMBERS)

    def condition(self, p=0.25):
        return " if (" + self.maybe(self.filter(1), 0.9) + ")" if self.r.random() < p else ""

    # ---- filters -------------------------------------------------------------------------------------------

    def time(self):
        t = self.pick("2026-03-04T05:00Z", "2026-03", "now-1h", "now", "1772600400", "2026-03-04T05:00:01.5+01:00")
        return "_time:" + self.pick(
            self.pick("5m", "=1d", "2026-03-04Z", ">5m", "<=1h"), self.pick(">=", "<") + self.pick(
                "2026-03-04T05:00Z", "now", "2026"), "[%s, now]" % t, "(%s, now)" % t, "[%s, now)" % t,
            "day_range[05:00, 06:00)", "day_range(05:00, 24:00]", "week_range[Mon, fri]", "offset 1h"
        ) + self.pick("", "", " offset 1h30m", " offset -5m")

    def stream(self):
        one = lambda: self.pick("app", '"a.b"', "host") + self.pick(
            '="web"', '!=db', '=~"w.*|x"', '!~"[a-c]+"', ' in ("web", db)', " not_in (x)")
        groups = [", ".join(one() for _ in range(self.r.randint(1, 2))) for _ in range(self.r.randint(0, 2))]
        return self.pick("", "_stream:") + "{" + " or ".join(groups) + "}"

    def values(self, least=0):
        return "(" + ", ".join(self.word() for _ in range(self.r.randint(least, 3))) + ")"

    def leaf(self):
        kind = self.r.randint(0, 23)
        if kind == 0:
            return self.time()
        if kind == 1:
            return self.stream()
        if kind == 2:
            return self.pick("*", "_stream_id:in(b1, c2)", "_stream_id:b1", "foo~1", "n:err~2")
        name = self.pick("", "", "_msg:") if self.r.random() < 0.3 else self.field() + ":"
        if name.strip('"\'`:') in ("_stream", "_stream_id", "_time"):
            name = "app:"
        return name + self.pick("", "", "", "!", "-") + self.pick(
            self.word, lambda: self.quoted(self.r.choice(WORDS)) + "*", lambda: "fo*",
            lambda: "=" + self.word(), lambda: "=" + self.quoted("fo") + "*", lambda: "i(" + self.word() + ")",
            lambda: "i(gE*)", lambda: "exact(" + self.word() + ")", lambda: "in" + self.values(),
            lambda: "contains_all" + self.values(), lambda: "contains_any" + self.values(), lambda: "in(*)",
            lambda: "seq" + self.values(), lambda: "~" + self.quoted(self.pick("a.b", "^x|y$", "[0-9]+", "(?i)get")),
            lambda: "re(fo+)", lambda: "range" + self.pick("(", "[") + self.number() + ", " + self.number() +
            self.pick(")", "]"), lambda: self.pick(">", ">=", "<", "<=") + self.number(),
            lambda: self.pick(">", ">=", "<", "<=") + self.quoted("foo bar"),
            lambda: "ipv4_range(" + self.pick("10.0.0.0/8", "10.0.0.1", "10.0.0.0, 10.0.0.9") + ")",
            lambda: "string_range" + "(" + self.word() + ", " + self.word() + ")",
            lambda: "len_range(" + self.pick("0, 5", "0x1, inf", "1KB, 2KB") + ")",
            lambda: self.pick("eq_field", "le_field", "lt_field") + "(" + self.field() + ")", lambda: '""', lambda: "*")()

    def filter(self, depth=2):
        if depth == 0 or self.r.random() < 0.4:
            return self.leaf()
        kind = self.r.randint(0, 5)
        if kind == 0:
            return self.pick("!", "-", "not ") + "(" + self.filter(depth - 1) + ")"
        if kind == 1:
            return self.pick("app", "'a.b'") + ":(" + self.pick("x or !y", "=web >5", "in(a) or (b c)") + ")"
        if kind == 2 and depth > 1:
            return self.pick("app:in", "contains_any", "n:contains_all") + "(" + self.filter(1) + " | " + self.pick(
                "fields " + self.field(), "uniq by (" + self.field() + ")") + ")"
        glue = self.pick(" ", " and ", " or ", " AND ")
        parts = [self.filter(depth - 1) for _ in range(self.r.randint(2, 3))]
        return "(" + glue.join(parts) + ")" if self.r.random() < 0.5 else glue.join(parts)

    # ---- pipes ---------------------------------------------------------------------------------------------

    def row_pipe(self):
        f, g = self.field, self.field
        keep = self.pick("", "", " keep_original_fields", " skip_empty_results")
        prefix = self.maybe(" result_prefix " + self.word(), 0.3)
        unpacked = self.maybe(lambda: " fields (" + self.fields(2, True) + ")", 0.4) + prefix + keep
        return self.pick(
            lambda: "collapse_nums" + self.condition() + self.maybe(" at " + f()) + self.maybe(" prettify"),
            lambda: self.pick("copy ", "cp ") + f() + self.pick(" as ", " ") + g(),
            lambda: self.pick("rename", "mv") + " a* as b*, " + f() + " " + g(),
            lambda: "decolorize" + self.maybe(" " + f()),
            lambda: self.pick("delete ", "drop ", "del ", "rm ") + self.fields(2, True),
            lambda: "drop_empty_fields",
            lambda: "extract" + self.condition() + " " + self.quoted("<x>=<_>,<plain:y> ") + self.maybe(
                " from " + f()) + keep,
            lambda: "extract_regexp" + self.condition() + " " + self.quoted("(?P<x>[a-z]+)=(?P<y>.)") + self.maybe(
                " from " + f()) + keep,
            lambda: self.pick("fields ", "keep ") + self.fields(3, True),
            lambda: self.pick("filter ", "where ") + self.filter(1),
            lambda: "format" + self.condition() + " " + self.quoted(
                "<%s>&lt;<%s:n> <_> x" % (self.pick("app", "a.b"), self.pick(
                    "q", "uc", "lc", "time", "duration", "duration_seconds", "ipv4", "hexencode", "hexdecode",
                    "base64encode", "base64decode", "hexnumencode", "hexnumdecode", "urlencode", "urldecode"))) +
            self.maybe(" as " + f()) + keep,
            lambda: "hash(" + f() + ")" + self.maybe(" as " + g()),
            lambda: "json_array_len(" + f() + ") " + g(),
            lambda: "len(" + f() + ") as " + g(),
            lambda: self.pick("math ", "eval ") + ", ".join(
                self.expr(2) + self.maybe(" as " + g()) for _ in range(self.r.randint(1, 2))),
            lambda: self.pick("pack_json", "pack_logfmt") + " fields (" + f() + ")" + self.maybe(" as " + g()),
            self.pack,
            lambda: "replace" + self.condition() + " (" + self.quoted("a") + ", " + self.word() + ")" + self.maybe(
                " at " + f()) + self.maybe(" limit 2"),
            lambda: "replace_regexp" + self.condition() + ' ("([a-z])(.)", "$2${1}$$")' + self.maybe(" at " + f()) +
            self.maybe(" limit 1"),
            lambda: "unpack_json" + self.condition() + self.maybe(" from " + f()) + unpacked,
            lambda: "unpack_logfmt" + self.condition() + self.maybe(" from " + f()) + unpacked,
            lambda: "unpack_syslog" + self.condition() + self.maybe(" from " + f()) + self.maybe(" offset 2h") +
            prefix + self.pick("", " keep_original_fields"),
            lambda: "unpack_words" + self.maybe(" from " + f()) + self.maybe(" as " + g()) + self.maybe(
                " drop_duplicates"),
            lambda: "unroll" + self.condition() + " by (" + self.distinct() + ")")()

    def pack(self):
        self.any = True  # the order of fields
        return self.pick("pack_json", "pack_logfmt") + self.maybe(" fields (" + self.fields(2, True) + ")") + self.maybe(
            " as " + self.field())

    def expr(self, depth):
        if depth == 0 or self.r.random() < 0.3:
            return self.pick("n", "size", "dur", '"a.b"', "3", "1.5", "2KB", '"2026-03-04T05:00:00Z"', "_time", "ip")
        a, b = self.expr(depth - 1), self.expr(depth - 1)
        return self.pick("(%s %s %s)" % (a, self.pick("+", "-", "*", "/", "%", "^", "&", "or", "xor", "default"), b),
                         "%s %s %s" % (a, self.pick("+", "-", "*", "/"), b), "-" + a, "max(%s, %s)" % (a, b),
                         "min(%s, %s)" % (a, b), "round(%s, 0.1)" % a, self.pick("abs", "ceil", "floor", "exp", "ln",
                                                                                "round") + "(" + a + ")")

    def func(self, i):
        args = self.fields(2, True) if self.r.random() < 0.8 else ""
        body = self.pick(
            *[n + "(" + args + ")" for n in ("avg", "count", "count_empty", "max", "min", "median", "sum", "sum_len",
                                             "count_uniq_hash", "rate_sum", "sum_words", "count_uniq", "uniq_values")],
            "rate()", "quantile(0.9, " + self.field() + ")", "histogram(" + self.field() + ")")
        if self.r.random() < 0.15:
            body = self.pick("values(n)", "row_any()", "json_values(app) limit 3", "row_min(n, app)", "row_max(n)",
                             "uniq_values(n) limit 2", "count_uniq(n) limit 2", "values(app) limit 1")
            self.any = True
        return body + self.condition(0.2) + self.pick("", " as r%d" % i, " r%d" % i)

    def stats(self):
        by = self.pick("", "app", "n:10, app", "_time:1h", "_time:day offset 2h, app", "ip:/24", "dur:5ms", "'a.b'")
        funcs = []
        for i in range(self.r.randint(1, 3)):
            f = self.func(i)
            if f not in funcs and not any(f.split("(")[0] == g.split("(")[0] for g in funcs):
                funcs.append(f)
        return self.pick("stats ", "") + (self.pick("by ", "by ") + "(" + by + ") " if by else "") + ", ".join(funcs)

    def order(self):
        names = ", ".join(f + self.pick("", " desc", " asc") for f in self.distinct(3).split(", "))
        part = self.maybe(" partition by (app)", 0.3)
        rank = self.maybe(" rank as " + self.field(), 0.3)
        if self.r.random() < 0.3:
            self.any = True  # equal rows
            return self.pick("first", "last") + self.maybe(" 2") + " by (" + names + ")" + part + rank
        limit = self.maybe(" limit 3", 0.3) + self.maybe(" offset 1", 0.2)
        self.any = self.any or bool(limit or rank)
        return self.pick("sort", "order") + " by (" + names + ")" + self.pick("", " desc") + part + limit + rank

    def last_pipe(self):
        kind = self.r.randint(0, 10)
        if kind <= 2:
            return self.stats()
        if kind <= 4:
            return self.order()
        self.any = self.any or kind in (7, 8)
        return [lambda: "top %d by (" % self.r.randint(1, 9) + self.distinct() + ")" + self.maybe(
                    " hits as " + self.field(), 0.3) + self.maybe(" rank", 0.3),
                lambda: "uniq by (" + self.distinct() + ")" + self.maybe(" with hits"),
                lambda: self.pick("limit 3", "head", "offset 2", "skip 1", "sample 2", "limit 0", "blocks_count as n",
                                  "block_stats", "field_values app limit 2", "uniq by (n) limit 2"),
                lambda: "math rand() + now() as x",
                lambda: self.pick("facets", "facets 3 keep_const_fields", "field_names as x", "field_values (app)"),
                lambda: self.pick("union (" + self.query(1) + ")", "join by (app) (" + self.filter(1) +
                                  " | stats by (app) count() c)" + self.maybe(' prefix "p."') +
                                  self.maybe(" inner"))][kind - 5]()

    def query(self, depth=0):
        text = ""
        if depth == 0 and self.r.random() < 0.1:
            text = "options(" + self.pick("concurrency=2", "time_offset=1h", "ignore_global_time_filter=true") + ") "
        text += self.filter() if self.r.random() < 0.7 else "*"
        if depth == 0 and self.r.random() < 0.03:
            self.any = True
            return text + " | " + self.pick("stream_context before 1 after 2", "patterns", "sort by (_score desc)")
        for _ in range(self.r.choice([0, 0, 1, 1, 2, 3])):
            text += " | " + self.row_pipe()
        if self.r.random() < 0.6:
            text += " | " + self.last_pipe()
        if self.r.random() < 0.3 and depth == 0:
            text += " | " + self.row_pipe()
        return text


ROWS = [
    {"_msg": 'GET /a 200 ip=1.2.3.4 "x y"', "app": "web", "n": "1.5", "js": '{"a":{"b":[1]},"x":"it\'s"}', "tags":
     '[1,"b"]', "ip": "10.0.0.1", "a.b": "7", "_stream": '{app="web"}', "_stream_id": "b1", "dur": "5ms"},
    {"_msg": "<13>1 - h a - - - hi", "n": "10KiB", "app": "db", "lf": 'a=1 b="c d"', "_stream_id": "c2", "from": "x"},
    {"_msg": "тест a=b c=\"d, <e>", "app": "web", "n": "-3", "dur": "1h", "limit": "5", "x y": "z", "тип": "ж"},
    {"_msg": "foo bar error \x1b[1mred\x1b[0m", "app": "a-b", "n": "10", "size": "1_000", "by": "bob", "tags": '["q"]'},
    {"_msg": "", "app": "web", "n": "10", "ip": "10.0.1.7", "_stream": '{app="web",host="h"}', "_stream_id": "b1"},
]


def main():
    args = argparse.ArgumentParser()
    args.add_argument("program")
    args.add_argument("--seed", type=int, default=None)
    args.add_argument("--queries", type=int, default=3000)
    o = args.parse_args()
    seed = o.seed if o.seed is not None else random.SystemRandom().randint(0, 2**32)
    print("seed", seed, flush=True)
    g = Grammar(seed)
    queries = []
    for _ in range(o.queries):
        g.any = False
        q = g.query()
        queries.append(("~ " if g.any else "= ") + q)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        for i in range(20):
            f.write(json.dumps({"_time": "2026-03-04T05:%02d:00Z" % i, **ROWS[i % len(ROWS)]}, ensure_ascii=False) + "\n")
        f.flush()
        run = subprocess.run([o.program, f.name], input="".join(q + "\n" for q in queries).encode(),
                             stdout=subprocess.PIPE, timeout=280)
    answers = run.stdout.decode(errors="replace").rstrip("\n").split("\n")
    if run.returncode or len(answers) != len(queries):
        print("the program ended with", run.returncode, "after", len(answers), "answers; the query was",
              queries[min(len(answers), len(queries) - 1)])
        return 1
    bad = [(q, json.loads(a)["error"]) for q, a in zip(queries, answers) if a.startswith('{"error"')]
    for q, error in bad[:10]:
        print("query:", q, "\n  error:", error)
    print(len(queries), "queries,", sum(q[0] == "=" for q in queries), "with fixed rows,", len(bad), "wrong")
    return bool(bad)


sys.exit(main())

#!/usr/bin/env python3
"""Fails when a pipe, a stats function or a filter's function occurs in no query of the fuzz corpus.

    covered.py ROOT_OF_THE_TREE
"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
language = root / "common" / "logsql"
names = set()
for table in ("pipes.def", "stats.def"):
    for line in re.findall(r'^TEL_\w+\(.*"([a-z_ ]+)"\)', (language / table).read_text(), re.M):
        names.update(line.split())
functions = (language / "parse_filter.c").read_text().split("functions[] = {")[1].split("};")[0]
names.update(re.findall(r'\{"(\w+)"', functions))
seen = set()
for query in (root / "tests" / "fuzz" / "logsql" / "query").iterdir():
    seen.update(re.findall(r"\w+", query.read_text(errors="replace")))
missing = sorted(names - seen)
print(len(names), "names,", len(missing), "not in the corpus:", *missing)
sys.exit(bool(missing) or len(names) < 70)

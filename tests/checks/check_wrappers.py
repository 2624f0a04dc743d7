#!/usr/bin/env python3
"""Fails on a third-party header that is included outside of its wrapper (wrappers.txt)."""
import project

RULES = [(line.split()[0], line.split()[1:]) for line in project.table("wrappers.txt")]


def allowed(path, places):
    return any(str(path) == place or (place.endswith("/") and str(path).startswith(place))
               for place in places + ["tests/"])


found = []
files = project.sources(".c", ".h", ".cc")
for file in files:
    for line_number, system, name in project.includes(file):
        for prefix, places in RULES:
            if system and name.startswith(prefix) and not allowed(file, places):
                found.append(f"{file}:{line_number}: <{name}> may be included only in {' '.join(places)}")
project.finish("wrappers", len(files), found)

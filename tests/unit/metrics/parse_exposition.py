#!/usr/bin/env python3
"""Reads an exposition on stdin with Prometheus' own parser and writes what it understood, a line per
sample: family type name{label=value,...} value."""
import sys

from prometheus_client.parser import text_string_to_metric_families

text = sys.stdin.buffer.read().decode("utf-8")
seen = set()
for family in text_string_to_metric_families(text):
    assert family.name not in seen, f"{family.name} stands in two places"
    seen.add(family.name)
    print("help", family.name, repr(family.documentation))
    for sample in family.samples:
        labels = ",".join(f"{k}={v!r}" for k, v in sorted(sample.labels.items()))
        print(family.type, f"{sample.name}{{{labels}}}", repr(float(sample.value)))

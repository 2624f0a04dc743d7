#!/usr/bin/env python3
"""Writes the Unicode tables of utf8.c: the word characters (categories L and Nd) as a two-level
bitmap, and the simple lower-case mappings as runs."""
import sys
import unicodedata

PAGE = 256
MAX = 0x110000


def is_word(cp):
    category = unicodedata.category(chr(cp))
    return category[0] == "L" or category == "Nd"


def lower(cp):
    if cp == 0x130:  # the only character whose full mapping has two code points
        return 0x69
    text = chr(cp).lower()
    return ord(text) if len(text) == 1 else cp


def word_pages():
    pages, index = [], []
    for first in range(0, MAX, PAGE):
        words = [0] * (PAGE // 64)
        for i in range(PAGE):
            if is_word(first + i):
                words[i // 64] |= 1 << (i % 64)
        words = tuple(words)
        if words not in pages:
            pages.append(words)
        index.append(pages.index(words))
    assert len(pages) <= 256
    return pages, index


def lower_runs():
    """(first, last, step, delta): first, first + step, ... last map to themselves + delta."""
    runs = []
    for cp in range(0x80, MAX):
        delta = lower(cp) - cp
        if delta == 0:
            continue
        if runs:
            first, last, step, d = runs[-1]
            gap = cp - last
            if d == delta and (gap == step or (first == last and gap <= 2)):
                runs[-1] = (first, cp, gap, d)
                continue
        runs.append((cp, cp, 1, delta))
    return runs


def main():
    pages, index = word_pages()
    with open(sys.argv[1], "w", encoding="ascii") as out:
        out.write(f"/* Made by unicode_tables.py from Unicode {unicodedata.unidata_version}. */\n")
        out.write(f"static const uint64_t word_pages[{len(pages)}][4] = {{\n")
        for page in pages:
            out.write("    {" + ", ".join(f"UINT64_C({w:#x})" for w in page) + "},\n")
        out.write(f"}};\nstatic const uint8_t word_index[{len(index)}] = {{\n")
        for i in range(0, len(index), 24):
            out.write("    " + ", ".join(map(str, index[i:i + 24])) + ",\n")
        out.write("};\nstatic const struct lower_run lower_runs[] = {\n")
        for first, last, step, delta in lower_runs():
            out.write(f"    {{{first:#x}, {last:#x}, {step}, {delta}}},\n")
        out.write("};\n")


main()

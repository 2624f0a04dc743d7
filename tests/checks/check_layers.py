#!/usr/bin/env python3
"""Fails on an include or a link that points against the layers of layers.txt."""
import pathlib
import re

import project

ALLOWED = {}
for line in project.table("layers.txt"):
    folder, _, uses = line.partition(":")
    ALLOWED[folder.strip()] = set(uses.split()) | {"common/base", folder.strip()}

# The library that a folder makes, where its name is not tel_<last part>.
TARGETS = {"tel_segment": "shard/segment", "tel_insert": "sidecar/insert"}
for layer in ALLOWED:
    TARGETS.setdefault("tel_" + layer.rsplit("/", 1)[-1], layer)


def layer_of(path):
    """The longest folder of the table that holds path, or None."""
    parts = pathlib.PurePosixPath(path).parts
    for n in range(len(parts) - 1, 0, -1):
        folder = "/".join(parts[:n])
        if folder in ALLOWED:
            return folder
    return None


def wrong(user, used):
    return user is not None and used is not None and used not in ALLOWED[user]


def check_includes(problems):
    files = project.sources(".c", ".h", ".def")
    for path in files:
        user = layer_of(path)
        for line, system, name in project.includes(path):
            used = None if system else layer_of(name)
            if wrong(user, used):
                problems.append(f"{path}:{line}: {user} may not include {name} (of {used})")
            if user == "plugins" and not system and "/" in name and name != "plugins/telescope_input.h" \
                    and layer_of(name) != "plugins":
                problems.append(f"{path}:{line}: a plugin includes only plugins/telescope_input.h")
    return len(files)


def check_links(problems):
    files = [p for p in project.sources("CMakeLists.txt")]
    for path in files:
        user = layer_of(path)
        text = (project.ROOT / path).read_text()
        for call in re.finditer(r"^(tel_library|tel_program|tel_plugin)\(([^)]*)\)", text, re.M | re.S):
            line = text.count("\n", 0, call.start()) + 1
            for name in re.findall(r"\btel_\w+", call.group(2).partition("LINKS")[2]):
                used = TARGETS.get(name)
                if wrong(user, used):
                    problems.append(f"{path}:{line}: {user} may not link {name} (of {used})")
    return len(files)


found = []
count = check_includes(found) + check_links(found)
project.finish("layers", count, found)

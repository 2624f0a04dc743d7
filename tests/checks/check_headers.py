#!/usr/bin/env python3
"""Fails on a header that does not compile alone. usage: check_headers.py COMPILER BUILD_DIR"""
import concurrent.futures
import os
import subprocess
import sys

import project

COMPILER, BUILD = sys.argv[1:3]
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
         "-Wno-unused-function", "-I", str(project.ROOT), "-I", BUILD, "-I", os.path.join(BUILD, "schemas")]


def compile_alone(header):
    unit = f'#include "{header}"\n#include "{header}"\n'  # twice: the guard is checked too
    run = subprocess.run([COMPILER, *FLAGS, "-x", "c", "-"], input=unit, text=True, capture_output=True,
                         cwd=project.ROOT)
    return None if run.returncode == 0 else f"{header}: does not compile alone\n{run.stderr}"


headers = project.sources(".h")
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    found = [p for p in pool.map(compile_alone, headers) if p]
project.finish("headers", len(headers), found)

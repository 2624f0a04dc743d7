#!/usr/bin/env python3
"""The pages that the programs write about themselves.

    docs/pages.py write BIN     writes docs/<page>-<program>.md, as the programs in BIN say
    docs/pages.py check BIN     says which of them are stale, missing or too many; exits 1 if any is

Every program of the table answers `--print-docs PAGE`."""
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = {
    "telescope-sidecar": ["config", "metrics", "plugins"],
    "telescope-router": ["config", "metrics"],
    "telescope-shard": ["config", "metrics"],
    "telescope standalone": ["config", "metrics"],
}


def page(bin_dir, program, name):
    executable, *words = program.split()
    return subprocess.run([bin_dir / executable, *words, "--print-docs", name], check=True,
                          capture_output=True, timeout=30).stdout


def pages(bin_dir):
    return {f"{name}-{program.replace(' ', '-')}.md": page(bin_dir, program, name)
            for program, names in PROGRAMS.items() for name in names}


def on_disk():
    return {path.name: path.read_bytes() for path in HERE.glob("*-telescope*.md")}


def write(wanted):
    for name in on_disk().keys() - wanted.keys():
        (HERE / name).unlink()
    for name, text in wanted.items():
        (HERE / name).write_bytes(text)
    print(f"{len(wanted)} pages written")
    return 0


def check(wanted):
    found = on_disk()
    problems = [f"docs/{name} is not what the program says" for name in sorted(wanted.keys() & found.keys())
                if wanted[name] != found[name]]
    problems += [f"docs/{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"docs/{name}: no program writes it" for name in sorted(found.keys() - wanted.keys())]
    for problem in problems:
        print(problem)
    if problems:
        print("cmake --build --preset release --target docs writes them anew")
    print(f"check_docs: {len(wanted)} pages, {len(problems)} problems")
    return 1 if problems else 0


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "check"):
        print(__doc__, file=sys.stderr)
        return 2
    wanted = pages(pathlib.Path(sys.argv[2]))
    return write(wanted) if sys.argv[1] == "write" else check(wanted)


if __name__ == "__main__":
    raise SystemExit(main())

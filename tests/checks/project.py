"""What the checks share: the project's files and what they include."""
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def sources(*endings):
    """Tracked and new files below the root with one of the endings, as paths relative to it."""
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT,
                         check=True, capture_output=True, text=True).stdout
    return sorted(pathlib.PurePosixPath(p) for p in out.split("\0")
                  if p.endswith(endings) and (ROOT / p).is_file())


def includes(path):
    """(line number, is_system, name) of each include of a file."""
    text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
    return [(text.count("\n", 0, m.start()) + 1, m.group(1) == "<", m.group(2))
            for m in INCLUDE.finditer(text)]


def table(name):
    """Lines of a table beside this file, without comments."""
    lines = (pathlib.Path(__file__).parent / name).read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def finish(what, count, problems):
    for problem in problems:
        print(problem)
    print(f"{what}: {count} files, {len(problems)} problems")
    raise SystemExit(1 if problems else 0)

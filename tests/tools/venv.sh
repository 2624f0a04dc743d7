#!/usr/bin/env bash
# Makes build/venv, the virtual environment of the Python tests, or leaves it as it is when it is current.
# usage: tests/tools/venv.sh [DIR]     (default: build/venv of this checkout; shared by all presets)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${1:-$root/build/venv}
wanted=$(sha256sum <"$root/tests/requirements.txt")

mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9 # two builds at once must not make it twice
if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/requirements.sha256" 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$root/tests/requirements.txt"
printf '%s\n' "$wanted" >"$venv/requirements.sha256"

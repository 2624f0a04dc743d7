"""bench_corpora: any JSON-lines files through bench_shard, one after the other, as a table: CPU and
size beside zstd -1 of the same bytes. Ends with 1 if a file is larger than zstd -1 makes it by over 5 %,
or slower, in bytes, than a third of the first one.

    build/release/bench/bench_corpora FILE.jsonl ...

A line is {"_time":...,"host":...,"app":...,"level":...,"_msg":...}, all strings.
"""
import argparse
import json
import pathlib
import subprocess
import sys


BENCH = pathlib.Path(__file__).resolve().parents[2] / "build/release/bench/bench_shard"


def measure(bench, path, limit, runs):
    """The run of the least CPU time, as bench_shard's JSON object."""
    best = None
    for _ in range(runs):
        out = subprocess.run([bench, "--corpus", path, "--max", str(limit)], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        result = json.loads(out.strip().splitlines()[-1])
        if best is None or result["cpu_seconds"] < best["cpu_seconds"]:
            best = result
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--bench", default=str(BENCH))
    parser.add_argument("--max", type=int, default=0, help="events of each file; 0: all")
    parser.add_argument("--runs", type=int, default=3, help="the best of so many is taken")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    row = "{:<16} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}  {}"
    print(row.format("corpus", "events", "events/s", "MB/s", "zstd -1", "stored", "zstd -1", ""))
    floor, bad = 0.0, False
    for path in args.files:
        r = measure(args.bench, path, args.max, args.runs)
        speed = r["raw_bytes"] / r["cpu_seconds"] / 1e6
        zstd_speed = r["raw_bytes"] / max(r["zstd1_cpu_seconds"], 1e-9) / 1e6
        floor = floor or speed / 3
        verdict = []
        if speed < floor:
            verdict.append("slow")
        if r["stored_ratio"] > r["zstd1_ratio"] * 1.05:
            verdict.append("large")
        bad = bad or bool(verdict)
        print(row.format(pathlib.Path(path).stem[:16], r["events"], f"{r['events_per_cpu_second']:.0f}",
                         f"{speed:.0f}", f"{zstd_speed:.0f}", f"{r['stored_ratio']:.4f}",
                         f"{r['zstd1_ratio']:.4f}", ", ".join(verdict)), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

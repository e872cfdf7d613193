#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `rein check`'s estimate of memory against what runs take: memory_estimate.py REIN PIPELINE.yaml...

Each pipeline is checked, then run with --overwrite; a line a stage: estimate, peak_memory of its metrics.jsonl, their ratio.
"""
import json
import os
import subprocess
import sys


def peak(folder):
    with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as f:
        last = json.loads(f.readlines()[-1])
    return last.get("peak_memory") or last["process_peak_memory"]


def main():
    rein, pipelines = sys.argv[1], sys.argv[2:]
    print(f"{'pipeline':24}{'stage':12}{'models':>9}{'work':>9}{'estimate':>10}{'measured':>10}{'ratio':>7}   (MiB)")
    for path in pipelines:
        plan = json.loads(subprocess.run([rein, "check", "--json", path], capture_output=True, check=True).stdout)
        run = subprocess.run([rein, "run", path, "--overwrite"], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(run.stderr)
        output = os.path.join(os.path.dirname(path), plan["output"])
        for stage in plan["stages"]:
            measured = peak(os.path.join(output, stage["name"])) / 2**20
            models, work, all_of_it = (stage[key] / 2**20 for key in ("model_bytes", "work_bytes", "peak_bytes"))
            print(f"{os.path.basename(path):24}{stage['name']:12}{models:9.0f}{work:9.0f}{all_of_it:10.0f}{measured:10.0f}"
                  f"{all_of_it / measured:7.2f}", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `rein check`'s estimate of memory against what runs take: memory_estimate.py REIN PIPELINE.yaml...

Each pipeline is checked, then run with --overwrite; a line a stage: estimate, peak (VmHWM of that stage) and their ratio.
"""
import json
import re
import subprocess
import sys


def main():
    rein, pipelines = sys.argv[1], sys.argv[2:]
    print(f"{'pipeline':24}{'stage':12}{'models':>9}{'work':>9}{'estimate':>10}{'measured':>10}{'ratio':>7}   (MiB)")
    for path in pipelines:
        plan = json.loads(subprocess.run([rein, "check", "--json", path], capture_output=True, check=True).stdout)
        run = subprocess.run([rein, "run", path, "--overwrite", "-v"], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(run.stderr)
        peaks = [int(n) for n in re.findall(r"peak memory ([0-9]+) MiB", run.stderr)]
        for stage, measured in zip(plan["stages"], peaks):
            models, work, all_of_it = (stage[key] / 2**20 for key in ("model_bytes", "work_bytes", "peak_bytes"))
            print(f"{path.split('/')[-1]:24}{stage['name']:12}{models:9.0f}{work:9.0f}{all_of_it:10.0f}{measured:10}"
                  f"{all_of_it / measured:7.2f}", flush=True)


if __name__ == "__main__":
    main()

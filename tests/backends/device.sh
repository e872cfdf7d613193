# SPDX-License-Identifier: MIT
# For scripts that hold a device to what the CPU does: read with `.`, top_builddir set.

# check programs of the engine that run on any backend (REIN_TEST_BACKEND)
engine_checks="check_engine check_families check_lora check_memory check_pitfalls check_sharing check_trace"

# why_not NAME: why this backend cannot run here; nothing when it can
why_not() {
    if [ ! -e "$top_builddir/modules/backends/$1.so" ]; then
        echo "$1 was not built"
        return
    fi
    "$top_builddir/rein" plugins "$1" --json | tr -d '\n' |
        sed -n '/"score": *0[,} ]/s/.*"reason": *"\([^"]*\)".*/\1/p'
}

# same METRICS OF-ANOTHER: the losses, gradients, scores and rewards of ten steps or more, the same in number and in name, are
# numbers that agree within 1e-4 of 1 or of their size. Where margins are nothing but rounding, as before DPO's first step, how many
# sides win is rounding too.
same() {
    [ "$(wc -l <"$1")" -eq "$(wc -l <"$2")" ] && [ "$(wc -l <"$2")" -ge 10 ] &&
        paste -d '\n' "$1" "$2" | awk '
    function wrong(what) { print "# line " int((NR + 1) / 2) ": " what; bad = 1 }
    NR % 2 { for (name in first) delete first[name]; tied = 0 }
    NR <= 2 && match($0, /"rewards\/margins": *[^,}]+/) {
        margin = substr($0, RSTART + 18, RLENGTH - 18) + 0
        if (margin < 1e-5 && margin > -1e-5) tied++
    }
    { for (rest = $0; match(rest, /"(loss|grad_norm|objective\/scores|objective\/kl|rewards\/[a-z]*)": *[^,}]+/);
           rest = substr(rest, RSTART + RLENGTH)) {
          split(substr(rest, RSTART, RLENGTH), pair, /": */)
          if (pair[2] !~ /^[-+]?[0-9.]+(e[-+]?[0-9]+)?$/) wrong(pair[1] " is " pair[2])
          if (NR % 2) { first[pair[1]] = pair[2]; continue }
          if (!(pair[1] in first)) { wrong(pair[1] " stands in one file only"); continue }
          d = first[pair[1]] - pair[2]; size = pair[2] < 0 ? -pair[2] : pair[2]; if (size < 1) size = 1
          if (d < 0) d = -d
          if (tied == 2 && d <= 1 && pair[1] == "\"rewards/accuracies") { delete first[pair[1]]; continue }
          count++
          if (d / size > worst) worst = d / size
          if (d > 1e-4 * size) wrong(pair[1] " is " pair[2] ", and was " first[pair[1]])
          delete first[pair[1]]
      } }
    NR % 2 == 0 { for (name in first) wrong(name " stands in one file only") }
    END { printf "# %d figures, largest difference %.1e\n", count, worst; exit bad || count < 20 }'
}

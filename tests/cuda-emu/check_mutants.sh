#!/bin/sh
# SPDX-License-Identifier: MIT
# Each mistake of mutants.cu is found, with these words, in every schedule; the right code beside it passes.
set -u
mutants=$top_builddir/tests/cuda-emu/mutants
[ -x "$mutants" ] || { echo "1..0 # SKIP the emulation is not built: no g++ (see configure)"; exit 0; }
n=0
# finds NAME WORDS: in all schedules
finds() {
    n=$((n + 1))
    bad=
    for schedule in forward reverse interleaved random:7; do
        out=$(REIN_EMU_SCHEDULE=$schedule "$mutants" "$1" 2>&1) || bad="$bad; $schedule: the right code fails: $out"
        out=$(REIN_EMU_SCHEDULE=$schedule "$mutants" "$1" wrong 2>&1)
        [ $? -eq 86 ] && echo "$out" | grep -qE "$2" || bad="$bad; $schedule: $out"
    done
    if [ -z "$bad" ]; then echo "ok $n - $1"; else echo "not ok $n - $1 is found by '$2'"; echo "# $bad"; fi
    names="${names-} $1"
}
in='kernel [a-z_]+, block \([0-9,]+\), thread \([0-9,]+\)'
finds past_the_end "out of bounds: $in reads 4 bytes: 0 bytes past the end of block [0-9]+ of device 0, which has 396 bytes"
finds write_past_the_end "out of bounds: $in writes 4 bytes: 0 bytes past the end of block"
finds before_the_start "out of bounds: kernel left, block \(0,0,0\), thread \(0,0,0\) reads 4 bytes: 4 bytes before block"
finds after_free "use after free: $in reads 4 bytes: byte [0-9]+ of block .* was freed"
finds free_twice "double free of"
finds never_written "uninitialised: $in reads 4 bytes: byte [0-9]+ of block"
finds host_pointer "memory of the host, or none: $in reads 4 bytes at"
finds other_device "memory of another device: $in reads 4 bytes: byte [0-9]+ of block [0-9]+ of device 1"
finds product_past_the_end "cublasGemmEx: out of bounds: [0-9]+ bytes past the end of block"
finds unaligned "unaligned access: $in, .*mutants.cu:"
finds beyond_a_local_array "index 4 outside of an array: $in"
finds no_barrier "data race: $in (reads|writes) what thread \([0-9,]+\) (reads|writes), .* shared array box\[[0-9]+\]|uninitialised: $in reads 4 bytes: shared array box"
finds no_barrier_at_the_end_of_a_round "data race: kernel rounds, .* shared array box\[[0-9]+\], which has 64 elements"
finds no_warp_barrier "data race: kernel relay, .* shared array box|uninitialised: $in reads 4 bytes: shared array box"
finds two_write_one_place "data race: $in writes what thread \([0-9,]+\) writes, .* shared array box\[0\]"
finds blocks_write_one_place "data race: $in (reads|writes) what another block writes in the same launch"
finds reads_what_a_neighbour_writes "data race: kernel shift"
finds streams_without_event "uninitialised: kernel twice"
finds shared_past_the_end "out of bounds: kernel prefix, .* reads 4 bytes: shared array box\[32\], which has 32 elements"
finds shared_never_written "uninitialised: kernel prefix, .* reads 4 bytes: shared array box\[1\]"
finds shared_of_another_block "uninitialised: kernel leftover, block \(1,0,0\), .* shared array box"
finds too_much_shared "kernel large, .* 32768 bytes of static and 20000 of dynamic shared memory"
finds returns_before_a_barrier "divergent __syncthreads: kernel leaves, .* has returned"
finds barrier_in_a_branch "divergent __syncthreads: kernel branches"
finds different_barriers "divergent __syncthreads: $in waits at .*mutants.cu:[0-9]+, thread \([0-9,]+\) at .*mutants.cu:[0-9]+"
finds masks_that_differ "divergent warp operations: kernel halves, .* with mask [0-9a-f]+ at .*, thread .* with mask"
finds mask_without_caller "mask that leaves the caller out: kernel halves, block \(0,0,0\), thread \(16,0,0\)|lane that does not take part: kernel halves, .* reads lane 16"
finds shuffle_from_outside "shuffle from a lane that does not take part: $in reads lane 8 with mask 000000ff"
finds warp_in_a_branch "divergent warp operation: kernel full_mask, .* has returned"
finds host_reads_device_memory "host code touches device memory"
finds library_reads_device_memory "host code touches device memory"
finds source_changed_too_early "host memory at .* was changed before its copy"
finds result_read_too_early "the host did not wait"
finds pinned_freed_too_early "pinned memory at .* is freed while a copy waits"
n=$((n + 1))
if [ "$(echo ${names} | tr ' ' '\n')" = "$("$mutants")" ]; then echo "ok $n - all mutants are asked for"; else echo "not ok $n - all mutants are asked for"; fi
echo "1..$n"

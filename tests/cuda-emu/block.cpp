/* SPDX-License-Identifier: MIT
 * Runs a launch: block after block, the threads of a block in turn. A thread runs until it waits or ends; one that never waits
 * leaves its stack to the next, so that kernels without barriers cost a loop.
 */
#include "emu.h"

#include <cstdio>
#include <cstdlib>

/* const for the sources (emu_language.h): set before a thread goes on, through these */
uint3 thread_storage asm("threadIdx"), block_storage asm("blockIdx");
dim3 block_dim_storage asm("blockDim"), grid_dim_storage asm("gridDim");

namespace emu {

enum state : uint8_t { FRESH, RUNNING, READY, AT_BARRIER, AT_WARP, DONE };

static struct thread {
    state is;
    warp_kind kind;
    unsigned mask;
    int source; /* lane whose value this one gets */
    place at;
    uint64_t in, out;
    uint64_t synced; /* the tick of its last __syncwarp */
    fibre *stack;
    uint3 index;
} threads[MOST_THREADS];

static struct {
    unsigned count, waiting, done, current;
    unsigned cursor;                      /* place in the order to look on from */
    uint64_t ready[MOST_THREADS / 64];    /* by place in the order */
    unsigned in_warp_operation[MOST_THREADS / WARP_LANES]; /* lanes, by warp */
    uint16_t place_of[MOST_THREADS], at_place[MOST_THREADS];
} b;
static const launch_site *site;
static char block_text[60];

const launch_site *running() {
    return site;
}

const char *thread_name(unsigned t, char out[40]) {
    const uint3 i = threads[t].index;

    snprintf(out, 40, "thread (%u,%u,%u)", i.x, i.y, i.z);
    return out;
}

const char *who() {
    static char out[400];
    char thread[40];

    snprintf(block_text, sizeof(block_text), "block (%u,%u,%u)", block_storage.x, block_storage.y, block_storage.z);
    snprintf(out, sizeof(out), "kernel %s, %s, %s", site->name, block_text, thread_name(b.current, thread));
    return out;
}

/* ---- the order of threads ---------------------------------------------------------------------- */

static void make_ready(unsigned t) {
    const unsigned p = b.place_of[t];

    b.ready[p / 64] |= (uint64_t)1 << p % 64;
}

/* The next thread that can go on, in the order from the cursor on; -1: none. */
static int next_ready() {
    const unsigned words = (b.count + 63) / 64;

    if (set().schedule == RANDOM)
        b.cursor = (unsigned)(random_bits() % b.count);
    for (unsigned i = 0, w = b.cursor / 64; i <= words; i++, w = w + 1 < words ? w + 1 : 0) {
        uint64_t bits = b.ready[w];
        if (i == 0)
            bits &= ~(uint64_t)0 << b.cursor % 64;
        if (bits) {
            const unsigned p = w * 64 + (unsigned)__builtin_ctzll(bits);
            b.ready[w] &= ~((uint64_t)1 << p % 64);
            b.cursor = p + 1 < b.count ? p + 1 : 0;
            return b.at_place[p];
        }
    }
    return -1;
}

static void put_in_order() {
    const unsigned n = b.count, warps = (n + WARP_LANES - 1) / WARP_LANES;
    unsigned p = 0;

    switch (set().schedule) {
    case REVERSE:
        for (unsigned t = n; t-- > 0;)
            b.at_place[p++] = (uint16_t)t;
        break;
    case INTERLEAVED: /* lane 0 of every warp, then lane 1 */
        for (unsigned lane = 0; lane < WARP_LANES; lane++)
            for (unsigned w = 0; w < warps; w++)
                if (w * WARP_LANES + lane < n)
                    b.at_place[p++] = (uint16_t)(w * WARP_LANES + lane);
        break;
    default:
        for (unsigned t = 0; t < n; t++)
            b.at_place[p++] = (uint16_t)t;
    }
    for (p = 0; p < n; p++)
        b.place_of[b.at_place[p]] = (uint16_t)p;
}

/* ---- going from thread to thread ------------------------------------------------------------------ */

static void set_current(unsigned t) {
    b.current = t;
    threads[t].is = RUNNING;
    thread_storage = threads[t].index;
    now.thread = t;
    now.warp = threads[t].synced;
}

/* No thread can go on, and not all are done. */
[[noreturn]] static void stuck() {
    int at_barrier = -1, at_warp = -1, done = -1;
    char one[40], other[40];

    for (unsigned t = 0; t < b.count; t++) {
        if (threads[t].is == AT_BARRIER)
            at_barrier = (int)t;
        if (threads[t].is == AT_WARP && (at_warp < 0 || t / WARP_LANES == (unsigned)at_warp / WARP_LANES))
            at_warp = (int)t;
        if (threads[t].is == DONE)
            done = (int)t;
    }
    if (at_warp >= 0) {
        const thread &w = threads[at_warp];
        for (unsigned lane = 0, first = (unsigned)at_warp & ~31u; lane < WARP_LANES && first + lane < b.count; lane++) {
            const thread &t = threads[first + lane];
            b.current = (unsigned)at_warp;
            if (!(w.mask >> lane & 1) || (t.is == AT_WARP && t.mask == w.mask && t.kind == w.kind && t.at.line == w.at.line))
                continue;
            if (t.is == AT_WARP)
                fatal("divergent warp operations: %s waits with mask %08x at %s:%u, %s with mask %08x at %s:%u", who(), w.mask,
                      w.at.file, w.at.line, thread_name(first + lane, other), t.mask, t.at.file, t.at.line);
            fatal("divergent warp operation: %s waits with mask %08x at %s:%u, which names %s, and that %s", who(), w.mask,
                  w.at.file, w.at.line, thread_name(first + lane, other),
                  t.is == DONE ? "has returned" : "waits in __syncthreads");
        }
    }
    b.current = (unsigned)(at_barrier < 0 ? 0 : at_barrier);
    if (done >= 0 && at_barrier >= 0)
        fatal("divergent __syncthreads: %s waits at %s:%u, and %s has returned", who(), threads[at_barrier].at.file,
              threads[at_barrier].at.line, thread_name((unsigned)done, one));
    fatal("%s: the threads wait for each other", who());
}

static void fibre_main();

/* Lets another thread run; returns when this one goes on. */
static void wait_turn(unsigned t) {
    const int n = next_ready();

    if (n < 0)
        stuck();
    if ((unsigned)n != t) {
        fibre *mine = threads[t].stack;
        const bool fresh = threads[n].is == FRESH;
        set_current((unsigned)n);
        if (fresh)
            threads[n].stack = fibre_take(fibre_main);
        fibre_switch(mine, threads[n].stack);
    }
    set_current(t);
}

/* The life of a stack: threads, one after the other. */
static void fibre_main() {
    for (;;) {
        thread *t = &threads[b.current];
        fibre *mine = t->stack;
        int n;

        site->run(site->call);
        t = &threads[b.current];
        t->is = DONE;
        b.done++;
        if (b.waiting > 0 && b.done + b.waiting == b.count)
            stuck();
        if (b.done == b.count) {
            fibre_give(mine);
            fibre_leave();
        }
        n = next_ready();
        if (n < 0)
            stuck();
        const bool fresh = threads[n].is == FRESH;
        set_current((unsigned)n);
        if (fresh) {
            threads[n].stack = mine;
        } else {
            fibre_give(mine);
            fibre_switch(mine, threads[n].stack);
        }
    }
}

/* ---- waiting for each other ------------------------------------------------------------------------- */

static bool same_place(place x, place y) {
    return x.line == y.line && (x.file == y.file || !strcmp(x.file, y.file));
}

static void needs_kernel(const char *what) {
    if (!site)
        fatal("%s outside of a kernel", what);
}

void barrier(place at) {
    needs_kernel("__syncthreads");
    const unsigned t = b.current;

    threads[t].is = AT_BARRIER;
    threads[t].at = at;
    b.waiting++;
    if (b.waiting == b.count) {
        for (unsigned i = 0; i < b.count; i++) {
            char one[40];
            if (!same_place(threads[i].at, at))
                fatal("divergent __syncthreads: %s waits at %s:%u, %s at %s:%u", who(), at.file, at.line, thread_name(i, one),
                      threads[i].at.file, threads[i].at.line);
            threads[i].is = READY;
            make_ready(i);
        }
        b.waiting = 0;
        now.barrier = tick();
    }
    wait_turn(t);
}

/* The lane that `lane` reads, and whether that is one of its segment. */
static int source_lane(warp_kind kind, int lane, int by, int width) {
    const int first = lane & ~(width - 1), last = first + width - 1;
    int from = lane;

    if (kind == SHUFFLE)
        from = first + (by & (width - 1));
    if (kind == SHUFFLE_XOR)
        from = lane ^ by;
    if (kind == SHUFFLE_DOWN)
        from = lane + by;
    if (kind == SHUFFLE_UP)
        from = lane - by;
    return from < first && kind == SHUFFLE_UP ? lane : from > last ? lane : from;
}

/* All lanes of the mask are there: exchanges their values. */
static void exchange(unsigned first, unsigned mask, warp_kind kind) {
    uint64_t ballot = 0, when = kind == SYNCWARP ? tick() : 0;

    for (unsigned lane = 0; lane < WARP_LANES && first + lane < b.count; lane++)
        if (mask >> lane & 1)
            ballot |= (threads[first + lane].in & 1) << lane;
    for (unsigned lane = 0; lane < WARP_LANES && first + lane < b.count; lane++) {
        thread &t = threads[first + lane];
        if (!(mask >> lane & 1))
            continue;
        if (kind == BALLOT) {
            t.out = ballot;
        } else if (kind == SYNCWARP) {
            t.synced = when;
        } else {
            const unsigned from = (unsigned)t.source;
            if (!(mask >> from & 1) || first + from >= b.count) {
                b.current = first + lane;
                fatal("shuffle from a lane that does not take part: %s reads lane %u with mask %08x at %s:%u", who(), from, mask,
                      t.at.file, t.at.line);
            }
            t.out = threads[first + from].in;
        }
        t.is = READY;
        make_ready(first + lane);
    }
    b.in_warp_operation[first / WARP_LANES] &= ~mask;
}

uint64_t warp(warp_kind kind, unsigned mask, uint64_t value, int by, int width, place at) {
    needs_kernel("a warp operation");
    const unsigned t = b.current, lane = t % WARP_LANES, first = t - lane;
    const unsigned there = b.count - first >= WARP_LANES ? 0xffffffffu : (1u << (b.count - first)) - 1;
    bool all;

    if (!(mask >> lane & 1))
        fatal("warp operation with a mask that leaves the caller out: %s, mask %08x at %s:%u", who(), mask, at.file, at.line);
    threads[t].is = AT_WARP;
    threads[t].kind = kind;
    threads[t].mask = mask;
    threads[t].in = value;
    threads[t].source = source_lane(kind, (int)lane, by, width);
    threads[t].at = at;
    b.in_warp_operation[t / WARP_LANES] |= 1u << lane;
    all = (b.in_warp_operation[t / WARP_LANES] & mask & there) == (mask & there);
    for (unsigned rest = mask & there; rest && all; rest &= rest - 1) {
        const thread &o = threads[first + (unsigned)__builtin_ctz(rest)];
        all = o.is == AT_WARP && o.mask == mask && o.kind == kind && same_place(o.at, at);
    }
    if (all)
        exchange(first, mask, kind);
    wait_turn(t);
    return threads[t].out;
}

/* ---- blocks ------------------------------------------------------------------------------------------- */

static void run_block() {
    now.block = now.barrier = tick();
    b.waiting = b.done = b.cursor = 0;
    for (unsigned t = 0; t < b.count; t++) {
        threads[t].is = FRESH;
        threads[t].synced = now.block;
        make_ready(t);
    }
    const int first = next_ready();
    set_current((unsigned)first);
    threads[first].stack = fibre_take(fibre_main);
    now.on = true;
    fibre_enter(threads[first].stack);
    now.on = false;
}

static uint64_t common(uint64_t a, uint64_t c) {
    return c ? common(c, a % c) : a;
}

void run_launch(const launch_site &l) {
    const uint64_t blocks = (uint64_t)l.grid.x * l.grid.y * l.grid.z;
    uint64_t start = 0, stride = 1;

    b.count = l.block.x * l.block.y * l.block.z;
    for (unsigned t = 0; t < b.count; t++)
        threads[t].index = {t % l.block.x, t / l.block.x % l.block.y, t / (l.block.x * l.block.y)};
    put_in_order();
    grid_dim_storage = l.grid;
    block_dim_storage = l.block;
    shared_begin(l.shared);
    site = &l;
    now.device = l.device;
    now.launch = tick();
    /* blocks in any order: in ours, with a stride without common factor, from anywhere */
    if (set().schedule == REVERSE)
        start = stride = blocks - 1;
    if (set().schedule == INTERLEAVED)
        stride = blocks / 2 + 1;
    if (set().schedule == RANDOM) {
        start = random_bits() % blocks;
        stride = random_bits() % blocks;
    }
    while (stride == 0 || common(stride, blocks) != 1)
        stride++;
    for (uint64_t i = 0, at = start; i < blocks; i++, at = (at + stride) % blocks) {
        block_storage = {(unsigned)(at % l.grid.x), (unsigned)(at / l.grid.x % l.grid.y),
                         (unsigned)(at / ((uint64_t)l.grid.x * l.grid.y))};
        run_block();
    }
    site = NULL;
}

} // namespace emu

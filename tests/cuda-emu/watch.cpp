/* SPDX-License-Identifier: MIT
 * The compiler calls a hook at every load and store of the CUDA sources (-fsanitize=thread; its own runtime is not linked). Each
 * is held against the shadow: inside of living memory of the device, written before it is read, and no race.
 *
 * Two accesses race when at least one writes and nothing orders them: threads of different blocks of a launch; threads of a
 * block without __syncthreads between; lanes of a warp without __syncwarp between. (A shuffle orders no memory.) A cell holds
 * the last write and the last read, with the tick of the clock and the thread; reads by several are flags. So a race may be
 * missed when three threads take part, and none is reported that is none.
 */
#include "emu.h"

#include <cstdio>
#include <link.h>

namespace emu {

/* write: tick << 11 | ATOMIC | thread;  read: tick << 13 | flags | thread */
enum : uint64_t { THREAD = 1023, ATOMIC = 1024, LANES = 1024, WARPS = 2048, BLOCKS = 4096 };
enum { WRITE_SHIFT = 11, READ_SHIFT = 13 };

watch now = {false, 0, 1, 0, 0, 0, 0, 0};
static uintptr_t image_begin, image_end; /* of this module: tables of constants and arguments of kernels */

uint64_t tick() {
    return ++now.clock;
}

static int find_image(dl_phdr_info *info, size_t, void *) {
    uintptr_t begin = UINTPTR_MAX, end = 0, inside = (uintptr_t)&now;

    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            const uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            begin = at < begin ? at : begin;
            end = at + info->dlpi_phdr[i].p_memsz > end ? at + info->dlpi_phdr[i].p_memsz : end;
        }
    if (inside < begin || inside >= end)
        return 0;
    image_begin = begin;
    image_end = end;
    return 1;
}

/* An address that is no device's: a thread's own variables and constants are fine, memory of the host is not. */
static __attribute__((noinline)) void elsewhere(uintptr_t address, size_t size, bool write) {
    if (fibre_owns(address))
        return;
    if (!image_end)
        dl_iterate_phdr(find_image, NULL);
    if (address - image_begin >= image_end - image_begin)
        fatal("memory of the host, or none: %s %s %zu bytes at %p", who(), write ? "writes" : "reads", size,
              (void *)address);
}

[[noreturn]] static __attribute__((noinline)) void bad(uintptr_t address, size_t size, bool write, uint64_t state) {
    const char *kind = state == FREED ? "use after free" : state == NOTHING ? "out of bounds" : "uninitialised";
    char name[200];

    memory_name(address, name);
    if (!now.on)
        fatal("host code touches device memory at %p: %s", (void *)address, name);
    if (address < memory.shared && device_of(address) != now.device)
        fatal("memory of another device: %s %s %zu bytes: %s", who(), write ? "writes" : "reads", size, name);
    fatal("%s: %s %s %zu bytes: %s", kind, who(), write ? "writes" : "reads", size, name);
}

[[noreturn]] static __attribute__((noinline)) void race(uintptr_t address, bool write, bool other_writes, unsigned other,
                                                        bool same_block, bool several) {
    char name[200], thread[40];

    memory_name(address, name);
    thread_name(other, thread);
    if (!same_block)
        fatal("data race: %s %s what another block %s in the same launch: %s", who(), write ? "writes" : "reads",
              other_writes ? "writes" : "reads", name);
    fatal("data race: %s %s what %s%s %s, and no barrier is between: %s", who(), write ? "writes" : "reads", thread,
          several ? " and others" : "", other_writes ? "writes" : "reads", name);
}

/* Whether an access at `tick` by `thread` of this block is ordered before one of the running thread now. */
static inline bool ordered(uint64_t tick, unsigned thread) {
    return thread == now.thread || tick < now.barrier || (thread / WARP_LANES == now.thread / WARP_LANES && tick < now.warp);
}

static inline void note_read(cell *c, uintptr_t address, uint64_t since) {
    const uint64_t when = c->read >> READ_SHIFT, written = c->write >> WRITE_SHIFT;
    const unsigned reader = (unsigned)(c->read & THREAD), writer = (unsigned)(c->write & THREAD);
    uint64_t flags = 0;

    if (written >= since && (written < now.block || !ordered(written, writer)))
        race(address, false, true, writer, written >= now.block, false);
    if (when >= since) {
        flags = c->read & BLOCKS;
        if (when < now.block) {
            flags |= BLOCKS;
        } else if (when >= now.barrier && reader != now.thread) {
            flags |= c->read & WARPS;
            if (reader / WARP_LANES != now.thread / WARP_LANES)
                flags |= WARPS;
            else if (when >= now.warp)
                flags |= LANES;
        } else if (when >= now.barrier) {
            flags |= c->read & (when >= now.warp ? WARPS | LANES : (uint64_t)WARPS);
        }
    }
    c->read = now.clock << READ_SHIFT | flags | now.thread;
}

static inline void note_write(cell *c, uintptr_t address, uint64_t since, uint64_t atomic) {
    const uint64_t when = c->read >> READ_SHIFT, written = c->write >> WRITE_SHIFT;
    const unsigned reader = (unsigned)(c->read & THREAD), writer = (unsigned)(c->write & THREAD);

    if (written >= since && !(atomic & c->write) && (written < now.block || !ordered(written, writer)))
        race(address, true, true, writer, written >= now.block, false);
    if (when >= since) {
        if (when < now.block || (c->read & BLOCKS))
            race(address, true, false, reader, false, true);
        if (when >= now.barrier && ((c->read & WARPS) || ((c->read & LANES) && when >= now.warp) || !ordered(when, reader)))
            race(address, true, false, reader, true, (c->read & (WARPS | LANES)) != 0);
    }
    c->write = now.clock << WRITE_SHIFT | atomic | now.thread;
}

/* Whether note_read has nothing to find and nothing to note at this cell: its write is ordered before whatever the launch's
 * threads do now, and its reads are noted such that no later write can miss this one. */
static inline bool quiet(const cell *c, bool shared) {
    const uint64_t written = c->write >> WRITE_SHIFT, when = c->read >> READ_SHIFT;

    if (written >= now.barrier || (written < now.block && (shared || written >= now.launch || c->write <= UNWRITTEN)))
        return false;
    if (when == now.clock && ((c->read & WARPS) || (c->read & (THREAD | LANES | BLOCKS)) == now.thread))
        return true;
    if (when == now.clock && (c->read & LANES) && (c->read & THREAD) / WARP_LANES == now.thread / WARP_LANES)
        return true;
    return (c->read & BLOCKS) && when >= now.launch;
}

/* Most reads: a few loads, nothing stored. */
template <size_t size> static inline bool nothing_new(const void *p) {
    const uintptr_t address = (uintptr_t)p, offset = address - memory.base;
    const bool shared = address >= memory.shared;

    if (offset >= memory.size || !now.on || address % size || memory.uniform[offset >> PAGE_BITS] != MIXED ||
        (!shared && offset - (uintptr_t)now.device * memory.device >= memory.device))
        return false;
    const cell *c = memory.shadow + (offset >> 1);
    for (size_t i = 0; i < size / 2; i++)
        if ((i == 0 || c[i].write != c[i - 1].write || c[i].read != c[i - 1].read) && !quiet(&c[i], shared))
            return false;
    return true;
}

template <bool write> static __attribute__((noinline)) void access(const volatile void *p, size_t size, uint64_t atomic = 0) {
    const uintptr_t address = (uintptr_t)p, offset = address - memory.base;

    if (offset >= memory.size) {
        if (now.on)
            elsewhere(address, size, write);
        return;
    }
    const bool shared = address >= memory.shared;
    const uint64_t since = shared ? now.block : now.launch; /* a block has shared memory of its own */
    if (!now.on || (!shared && offset - (uintptr_t)now.device * memory.device >= memory.device))
        bad(address, size, write, NOTHING);
    cell *c = cell_of(address);
    if (!write && size == 4 && !(address & 3) && c[0].write == c[1].write && c[0].read == c[1].read && c->write > UNWRITTEN &&
        (!shared || c->write >> WRITE_SHIFT >= now.block)) { /* most accesses: both halves alike */
        note_read(c, address, since);
        c[1].read = c[0].read;
        return;
    }
    cell *last = cell_of(address + size - 1);
    for (uintptr_t at = address; c <= last; c++, at = (at & ~(uintptr_t)1) + 2) {
        if (c->write < UNWRITTEN || ((!write || atomic) && c->write == UNWRITTEN))
            bad(at, size, write, c->write);
        /* what another block left in shared memory */
        if ((!write || atomic) && shared && c->write >> WRITE_SHIFT < now.block)
            bad(at, size, write, UNWRITTEN);
        if (size == 1) { /* two bytes may belong to two threads */
            if (write)
                c->write = now.clock << WRITE_SHIFT | atomic | now.thread;
        } else if (write) {
            note_write(c, at, since, atomic);
        } else {
            note_read(c, at, since);
        }
    }
}

void atomic_access(const volatile void *address, size_t size) {
    access<true>(address, size, ATOMIC);
}

} // namespace emu

/* ---- what the compiler calls ------------------------------------------------------------------------ */

#define HOOKS(size, quick)                                                                                             \
    void __tsan_read##size(void *p) {                                                                                  \
        if (!quick)                                                                                                    \
            emu::access<false>(p, size);                                                                               \
    }                                                                                                                  \
    void __tsan_write##size(void *p) {                                                                                 \
        emu::access<true>(p, size);                                                                                    \
    }                                                                                                                  \
    void __tsan_unaligned_read##size(void *p) {                                                                        \
        emu::access<false>(p, size);                                                                                   \
    }                                                                                                                  \
    void __tsan_unaligned_write##size(void *p) {                                                                       \
        emu::access<true>(p, size);                                                                                    \
    }

#pragma GCC visibility push(hidden)
extern "C" {
void __tsan_init() {}
HOOKS(1, false)
HOOKS(2, emu::nothing_new<2>(p))
HOOKS(4, emu::nothing_new<4>(p))
HOOKS(8, emu::nothing_new<8>(p))
HOOKS(16, emu::nothing_new<16>(p))
void __tsan_read_range(void *p, size_t size) {
    emu::access<false>(p, size);
}
void __tsan_write_range(void *p, size_t size) {
    emu::access<true>(p, size);
}

/* the guard of a variable that is static in a function of the host */
unsigned char __tsan_atomic8_load(const volatile unsigned char *p, int) {
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* -fsanitize=alignment,bounds,shift,integer-divide-by-zero: what is undefined in C++ and wrong or a trap on a GPU */
struct where {
    const char *file;
    uint32_t line, column;
};
void __ubsan_handle_type_mismatch_v1(const where *w, uintptr_t address) {
    emu::fatal("unaligned access: %s, address %p at %s:%u", emu::running() ? emu::who() : "host code", (void *)address, w->file,
               w->line);
}
void __ubsan_handle_out_of_bounds(const where *w, uintptr_t index) {
    emu::fatal("index %td outside of an array: %s at %s:%u", (ptrdiff_t)index, emu::running() ? emu::who() : "host code", w->file,
               w->line);
}
void __ubsan_handle_shift_out_of_bounds(const where *w, uintptr_t, uintptr_t by) {
    emu::fatal("shift by %td bits: %s at %s:%u", (ptrdiff_t)by, emu::running() ? emu::who() : "host code", w->file, w->line);
}
void __ubsan_handle_divrem_overflow(const where *w, uintptr_t, uintptr_t) {
    emu::fatal("division by zero: %s at %s:%u", emu::running() ? emu::who() : "host code", w->file, w->line);
}
}
#pragma GCC visibility pop

/* SPDX-License-Identifier: MIT
 * Inside of the emulation: fibre.cpp block.cpp (a block of threads), memory.cpp watch.cpp (memory and every access to it),
 * stream.cpp api.cpp blas.cpp (the host's side), report.cpp (messages).
 */
#ifndef EMU_H
#define EMU_H

#include "cuda_emu.h"

namespace emu {

enum { MOST_THREADS = 1024, WARP_LANES = 32, DEVICES = 2, MOST_SHARED = 48 << 10 };

/* ---- report.cpp ---------------------------------------------------------------------------- */

/* What a GPU would punish, or get wrong in silence: says so, with kernel, block and thread, and ends the process with status 86. */
[[noreturn]] void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What a call of the host got wrong, and is told by its status. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
enum { EXIT_PUNISHED = 86 };

/* ---- settings: read from the environment when first asked ------------------------------------ */

enum schedule { FORWARD, REVERSE, INTERLEAVED, RANDOM };
enum streams { LAZY, EAGER, SOMETIMES };
struct settings {
    enum schedule schedule;
    enum streams streams;
    uint64_t seed;
    size_t memory; /* bytes of a device */
};
const settings &set();
uint64_t random_bits();

/* ---- fibre.cpp ------------------------------------------------------------------------------- */

struct fibre; /* a stack and where it was left */
/* Runs on the stack that calls; fibres return to it by fibre_leave. */
void fibre_enter(fibre *to);
void fibre_leave();
/* From one to another. The left one may be entered again. */
void fibre_switch(fibre *from, fibre *to);
/* A stack to start `entry` on. */
fibre *fibre_take(void (*entry)());
void fibre_give(fibre *f);
bool fibre_owns(uintptr_t address);

/* ---- block.cpp ------------------------------------------------------------------------------- */

struct launch_site {
    const char *name;
    dim3 grid, block;
    size_t shared; /* dynamic, bytes */
    int device;
    const void *call;
    void (*run)(const void *call);
};
void run_launch(const launch_site &l);
const launch_site *running(); /* NULL outside of kernels */
/* "kernel NAME, block (1,0,0), thread (33,0,0)" of the running thread, or of another one of the block. */
const char *who();
const char *thread_name(unsigned thread, char out[40]);

/* ---- memory.cpp: device and shared memory, and a shadow cell for every two bytes of it --------- */

/* Low values of `write`: what the two bytes are; from FIRST_CLOCK: who wrote them last, in which interval. */
enum { NOTHING, FREED, UNWRITTEN, WRITTEN_BY_HOST, FIRST_CLOCK };
struct cell {
    uint64_t write, read;
};
struct region {
    uintptr_t base;
    size_t size;   /* devices, then the shared memory of the running block */
    size_t device; /* address space of one device */
    uintptr_t shared;
    cell *shadow;
    /* By pages: the state that all of the page's cells have, whatever they hold, or MIXED. */
    uint8_t *uniform;
};
enum { PAGE_BITS = 12, MIXED = 255 };
extern region memory;
void spread_page(size_t page);
/* The cells of an address and of those behind it in the page. */
inline cell *cell_of(uintptr_t address) {
    const size_t offset = address - memory.base;

    if (__builtin_expect(memory.uniform[offset >> PAGE_BITS] != MIXED, 0))
        spread_page(offset >> PAGE_BITS);
    return memory.shadow + (offset >> 1);
}
int device_of(uintptr_t address); /* -1: it is no device's */

void *device_alloc(int device, size_t bytes); /* NULL: there is no room. Not to be touched before device_born */
void device_born(void *address);
void device_free(void *address);
void device_trim(int device); /* the pool gives back what was freed */
bool device_block(const void *address); /* the start of a block that is alive */
size_t device_used(int device);
size_t device_blocks();
/* Between them the CPU can touch device memory. */
void device_open();
void device_close();
/* What lies at the address, for messages. */
const char *memory_name(uintptr_t address, char out[200]);
/* All of [address, address + bytes) is alive memory of the device, and written where that is asked. */
void check_range(const char *what, int device, const void *address, size_t bytes, bool written);
void mark_range(const void *address, size_t bytes, uint64_t state);
/* State that goes along with copied bytes. */
void copy_marks(const void *to, const void *from, size_t bytes);
/* What the host gets of memory that was never written: NaN. */
void blank_unwritten(void *to, const void *from, size_t bytes);

/* ---- shared memory (shared.cpp) ---------------------------------------------------------------- */

void shared_begin(size_t dynamic);
const char *shared_name(uintptr_t address, char out[200]);

/* ---- watch.cpp --------------------------------------------------------------------------------- */

/* A clock that ticks at launches, blocks, barriers and __syncwarp orders accesses. */
struct watch {
    bool on;
    int device;
    uint64_t clock, launch, block, barrier; /* now, and the first tick of each */
    uint64_t warp;                          /* the last __syncwarp of the running thread */
    unsigned thread;
};
extern watch now;
uint64_t tick();

/* ---- for tests of the host's side: stream.cpp, api.cpp ------------------------------------------- */

/* The n-th fallible call from now on fails; 0: none. */
void fail_call(long n);
bool fail_done(); /* it, or the kernel, did */
void fail_note();
/* The n-th kernel that runs from now on meets an illegal address: its device is lost. */
void fail_kernel(long n);
void mend_devices();
/* Device blocks, pinned blocks, streams, events and cuBLAS handles that are alive. */
size_t alive();

} // namespace emu

#endif

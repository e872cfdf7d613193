/* SPDX-License-Identifier: MIT
 * Device memory: one range of addresses for all devices, and beside it a shadow cell for every two bytes. Outside of kernels
 * and copies the range is closed to the CPU, so that host code that touches device memory meets a fault.
 */
#include "emu.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <set>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace emu {

enum { ALIGN = 256, ZONE = 256, SHARED_SPACE = 1 << 20, PAGE = 1 << PAGE_BITS, LARGE = 64 << 10 };
/* Freed blocks keep their addresses until so much is freed after them. */
enum : size_t { QUARANTINE = (size_t)16 << 20 };

struct block {
    size_t bytes, room;
    unsigned number;
    bool alive;
};
struct device_memory {
    uintptr_t begin, top, opened; /* of the address space: start, end of what was ever used, end of what is open */
    size_t used;
    std::multiset<size_t> kept; /* by the pool: bytes of blocks that were freed */
    size_t kept_bytes;
    std::map<uintptr_t, block> blocks;
    std::deque<uintptr_t> freed;
    size_t freed_bytes;
    std::map<size_t, std::vector<uintptr_t>> reusable; /* by room */
    unsigned count;
};

region memory;
static device_memory devices[DEVICES];
static int open_depth;

static struct sigaction former;

static size_t page(size_t bytes) {
    return (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
}

/* ---- faults ------------------------------------------------------------------------------------ */

static void on_fault(int number, siginfo_t *info, void *context) {
    const uintptr_t address = (uintptr_t)info->si_addr;
    char name[200];

    if (address - memory.base < memory.size)
        fatal("host code touches device memory at %p: %s", info->si_addr, memory_name(address, name));
    if (running())
        fatal("%s: touches address %p, which is no device memory", who(), info->si_addr);
    sigaction(number, &former, NULL); /* not ours: the instruction meets it again */
    (void)context;
}

static void *map(size_t bytes, int protection) {
    void *at = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED)
        fatal("no address space for %zu MiB: set REIN_EMU_MEMORY (MiB of a device) lower", bytes >> 20);
    return at;
}

static void start() {
    struct sigaction action = {};

    if (memory.base)
        return;
    memory.device = page(2 * set().memory + QUARANTINE + ZONE);
    memory.size = DEVICES * memory.device + SHARED_SPACE;
    memory.base = (uintptr_t)map(memory.size, PROT_NONE);
    memory.shared = memory.base + DEVICES * memory.device;
    memory.shadow = (cell *)map(memory.size / 2 * sizeof(cell), PROT_READ | PROT_WRITE);
    memory.uniform = (uint8_t *)map(memory.size >> PAGE_BITS, PROT_READ | PROT_WRITE); /* zeros: NOTHING */
    if (mprotect((void *)memory.shared, SHARED_SPACE, PROT_READ | PROT_WRITE))
        fatal("no shared memory");
    for (int i = 0; i < DEVICES; i++)
        devices[i].begin = devices[i].top = devices[i].opened = memory.base + (size_t)i * memory.device;
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &former);

}

static void protect(device_memory *d, bool open) {
    const size_t bytes = page(d->top - d->begin);

    if (bytes > 0 && mprotect((void *)d->begin, bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE))
        fatal("device memory cannot be protected");
    d->opened = open ? d->begin + bytes : d->begin;
}

void device_open() {
    if (open_depth++ == 0)
        for (auto &d : devices)
            protect(&d, true);
}

void device_close() {
    if (--open_depth == 0)
        for (auto &d : devices)
            protect(&d, false);
}

/* ---- blocks --------------------------------------------------------------------------------------- */

int device_of(uintptr_t address) {
    return memory.base && address - memory.base < memory.shared - memory.base ? (int)((address - memory.base) / memory.device)
                                                                              : -1;
}

/* The block at or before the address; end() when there is none. */
static std::map<uintptr_t, block>::iterator nearest(device_memory *d, uintptr_t address) {
    auto at = d->blocks.upper_bound(address);

    return at == d->blocks.begin() ? d->blocks.end() : --at;
}

const char *memory_name(uintptr_t address, char out[200]) {
    const int device = device_of(address);

    if (address - memory.shared < SHARED_SPACE)
        return shared_name(address, out);
    if (device < 0) {
        snprintf(out, 200, "no device memory");
        return out;
    }
    auto at = nearest(&devices[device], address);
    auto next = devices[device].blocks.upper_bound(address);
    const bool after = at != devices[device].blocks.end(), before = next != devices[device].blocks.end();
    if (before && (!after || address >= at->first + at->second.bytes + ZONE / 2)) {
        snprintf(out, 200, "%zu bytes before block %u of device %d, which has %zu bytes", (size_t)(next->first - address),
                 next->second.number, device, next->second.bytes);
    } else if (after) {
        const block &b = at->second;
        const size_t offset = address - at->first;
        if (offset < b.bytes)
            snprintf(out, 200, "byte %zu of block %u of device %d, which has %zu bytes%s", offset, b.number, device, b.bytes,
                     b.alive ? "" : " and was freed");
        else
            snprintf(out, 200, "%zu bytes past the end of block %u of device %d, which has %zu bytes%s", offset - b.bytes,
                     b.number, device, b.bytes, b.alive ? "" : " and was freed");
    } else {
        snprintf(out, 200, "device %d, which has no blocks", device);
    }
    return out;
}

/* The oldest freed blocks may be used again. */
static void release(device_memory *d, size_t keep) {
    while (d->freed_bytes > keep) {
        auto at = d->blocks.find(d->freed.front());
        d->freed.pop_front();
        d->freed_bytes -= at->second.room;
        d->reusable[at->second.room].push_back(at->first);
    }
}

static uintptr_t place_block(device_memory *d, size_t room) {
    auto same = d->reusable.find(room);
    uintptr_t at;

    if (same != d->reusable.end() && !same->second.empty()) {
        at = same->second.back();
        same->second.pop_back();
        return at;
    }
    if (d->top == d->begin)
        d->top += ZONE;
    if (room > d->begin + memory.device - d->top)
        return 0;
    at = d->top;
    d->top += room;
    if (open_depth > 0)
        protect(d, true);
    return at;
}

void *device_alloc(int device, size_t bytes) {
    start();
    device_memory *d = &devices[device];
    size_t room = bytes;
    uintptr_t at;

    /* the pool takes a freed block that is large enough, or new memory: pieces of several blocks are not put together */
    const auto again = d->kept.lower_bound(bytes);
    if (again != d->kept.end()) {
        d->kept_bytes -= *again;
        d->kept.erase(again);
    } else if (bytes > set().memory - d->used - d->kept_bytes) {
        return NULL;
    }
    /* sizes in steps of a quarter, so that freed blocks fit again */
    const size_t step = bytes > 64 * ALIGN ? (size_t)1 << (61 - __builtin_clzll(bytes)) : (size_t)ALIGN;
    room = (bytes + step - 1) / step * step + ZONE;
    release(d, QUARANTINE);
    at = place_block(d, room);
    if (!at) {
        release(d, 0);
        at = place_block(d, room);
    }
    if (!at)
        return NULL;
    d->blocks[at] = {bytes, room, ++d->count, true};
    d->used += bytes;
    return (void *)at;
}

void device_born(void *address) {
    const block &b = devices[device_of((uintptr_t)address)].blocks.find((uintptr_t)address)->second;

    mark_range(address, b.room, NOTHING);
    mark_range(address, b.bytes, UNWRITTEN);
}

bool device_block(const void *address) {
    const int device = device_of((uintptr_t)address);

    if (device < 0)
        return false;
    auto at = devices[device].blocks.find((uintptr_t)address);
    return at != devices[device].blocks.end() && at->second.alive;
}

void device_free(void *address) {
    device_memory *d = &devices[device_of((uintptr_t)address)];
    block &b = d->blocks.find((uintptr_t)address)->second;

    const uintptr_t first = page((uintptr_t)address), last = ((uintptr_t)address + b.bytes) & ~(uintptr_t)(PAGE - 1);

    mark_range(address, b.bytes, FREED);
    if (last > first && last - first >= LARGE) /* fewer pages to open and close */
        madvise((void *)first, last - first, MADV_DONTNEED);
    b.alive = false;
    d->used -= b.bytes;
    d->kept.insert(b.bytes);
    d->kept_bytes += b.bytes;
    d->freed.push_back((uintptr_t)address);
    d->freed_bytes += b.room;
}

void device_trim(int device) {
    devices[device].kept.clear();
    devices[device].kept_bytes = 0;
}

size_t device_used(int device) {
    return devices[device].used;
}

size_t device_blocks() {
    size_t n = 0;

    for (auto &d : devices)
        for (auto &b : d.blocks)
            n += b.second.alive;
    return n;
}

/* ---- states ------------------------------------------------------------------------------------------ */

void spread_page(size_t page) {
    cell *c = memory.shadow + (page << (PAGE_BITS - 1));

    for (size_t i = 0; i < PAGE / 2; i++)
        c[i] = {memory.uniform[page], 0};
    memory.uniform[page] = MIXED;
}

/* Calls each(begin, bytes) for every page of the range. */
template <class F> static void by_pages(uintptr_t begin, size_t bytes, F each) {
    while (bytes > 0) {
        const size_t room = PAGE - (begin - memory.base) % PAGE, n = bytes < room ? bytes : room;
        each(begin, n);
        begin += n;
        bytes -= n;
    }
}

void mark_range(const void *address, size_t bytes, uint64_t state) {
    by_pages((uintptr_t)address, bytes, [state](uintptr_t begin, size_t n) {
        uint8_t *const uniform = &memory.uniform[(begin - memory.base) >> PAGE_BITS];
        if (n == PAGE)
            *uniform = (uint8_t)state;
        if (*uniform == state)
            return;
        for (cell *c = cell_of(begin), *last = cell_of(begin + n - 1); c <= last; c++)
            *c = {state, 0};
    });
}

static bool same_state(uintptr_t begin, size_t bytes, uint64_t state) {
    bool same = true;

    by_pages(begin, bytes, [&](uintptr_t at, size_t) { same = same && memory.uniform[(at - memory.base) >> PAGE_BITS] == state; });
    return same;
}

void copy_marks(const void *to, const void *from, size_t bytes) {
    if (same_state((uintptr_t)from, bytes, WRITTEN_BY_HOST)) {
        mark_range(to, bytes, WRITTEN_BY_HOST);
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        const cell *c = cell_of((uintptr_t)from + i);
        *cell_of((uintptr_t)to + i) = {c->write > UNWRITTEN ? (uint64_t)WRITTEN_BY_HOST : c->write, 0};
    }
}

void blank_unwritten(void *to, const void *from, size_t bytes) {
    if (same_state((uintptr_t)from, bytes, WRITTEN_BY_HOST))
        return;
    for (size_t i = 0; i < bytes; i++)
        if (cell_of((uintptr_t)from + i)->write == UNWRITTEN)
            ((unsigned char *)to)[i] = 0xff;
}

void check_range(const char *what, int device, const void *address, size_t bytes, bool written) {
    const uintptr_t start = (uintptr_t)address;

    if (bytes == 0)
        return;
    if (device_of(start) != device || device_of(start + bytes - 1) != device)
        fatal("%s: %p is not memory of device %d", what, address, device);
    by_pages(start, bytes, [=](uintptr_t begin, size_t n) {
        const uint8_t uniform = memory.uniform[(begin - memory.base) >> PAGE_BITS];
        char name[200];
        if (uniform == WRITTEN_BY_HOST || (uniform == UNWRITTEN && !written))
            return;
        for (uintptr_t at = begin; at < begin + n; at = (at & ~(uintptr_t)1) + 2) {
            const uint64_t state = cell_of(at)->write;
            if (state < UNWRITTEN)
                fatal("%s: %s %s", what, state == FREED ? "use after free:" : "out of bounds:", memory_name(at, name));
            if (written && state == UNWRITTEN)
                fatal("%s: reads what was never written: %s", what, memory_name(at, name));
        }
    });
}

} // namespace emu

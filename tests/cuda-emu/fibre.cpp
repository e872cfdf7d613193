/* SPDX-License-Identifier: MIT
 * Stacks that threads of a block run on, and the change from one to another: without a system call on x86-64 (swapcontext saves
 * the signal mask each time, which is most of its cost), by ucontext elsewhere. Stacks are kept.
 */
#include "emu.h"

#include <cstdlib>
#include <sys/mman.h>
#include <vector>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emu {

enum { STACK = 128 << 10, GUARD = 4 << 10 };

#ifdef __x86_64__

struct context {
    void *sp;
};

extern "C" void emu_switch(void **save, void *to) __attribute__((visibility("hidden")));
asm(R"(
    .text
    .globl emu_switch
    .hidden emu_switch
    .type emu_switch, @function
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emu_switch, .-emu_switch
)");

static void prepare(context *c, char *stack, void (*entry)()) {
    void **top = (void **)(stack + STACK);

    *--top = NULL; /* entry returns nowhere, and finds the stack as after a call */
    *--top = (void *)entry;
    for (int i = 0; i < 6; i++)
        *--top = NULL;
    c->sp = top;
}

static void change(context *from, context *to) {
    emu_switch(&from->sp, to->sp);
}

#else

struct context {
    ucontext_t u;
};

static void prepare(context *c, char *stack, void (*entry)()) {
    getcontext(&c->u);
    c->u.uc_stack.ss_sp = stack;
    c->u.uc_stack.ss_size = STACK;
    c->u.uc_link = NULL;
    makecontext(&c->u, entry, 0);
}

static void change(context *from, context *to) {
    swapcontext(&from->u, &to->u);
}

#endif

struct fibre {
    context at;
    char *stack;
};

static context caller;
static fibre *running_fibre;
static fibre fibres[MOST_THREADS]; /* not from the heap: they live until the process ends, when nothing else names them */
static std::vector<fibre *> unused;
static char *stacks; /* one piece of address space, a guard page below each stack */
static size_t taken;

bool fibre_owns(uintptr_t address) {
    return address - (uintptr_t)stacks < (size_t)MOST_THREADS * (STACK + GUARD);
}

fibre *fibre_take(void (*entry)()) {
    const size_t size = STACK + GUARD;
    fibre *f;

    if (unused.empty()) {
        if (!stacks)
            stacks = (char *)mmap(NULL, MOST_THREADS * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        f = &fibres[taken];
        f->stack = stacks + taken++ * size + GUARD;
        if (stacks == MAP_FAILED || mprotect(f->stack, STACK, PROT_READ | PROT_WRITE))
            fatal("no memory for the stacks of threads");
    } else {
        f = unused.back();
        unused.pop_back();
    }
    prepare(&f->at, f->stack, entry);
    return f;
}

void fibre_give(fibre *f) {
    unused.push_back(f);
}

void fibre_enter(fibre *to) {
    running_fibre = to;
    change(&caller, &to->at);
}

void fibre_leave() {
    change(&running_fibre->at, &caller);
}

void fibre_switch(fibre *from, fibre *to) {
    running_fibre = to;
    change(&from->at, &to->at);
}

} // namespace emu

/* rein/abi.h - rules that every other public header obeys.
 *
 * SPDX-License-Identifier: MIT
 *
 * 1. Every struct that crosses the plugin boundary begins with `uint32_t size`,
 *    set by whoever allocates it to sizeof(struct) as *they* compiled it.
 * 2. Members are only ever appended. Nothing is removed, reordered or retyped
 *    while REIN_ABI_MAJOR stays the same. (Major 0 is the draft: until 1.0 the
 *    host accepts only plugins built for exactly its own version.)
 * 3. A member added after 1.0 is read only through REIN_HAS().
 * 4. No enum, bool, long or bit-field in a struct: fixed-width integers, float,
 *    double, size_t and pointers only.
 * 5. A function pointer says on which thread it may be called:
 *      [main]         the thread that called rein's main function
 *      [instance]     any thread, but calls on one instance never overlap
 *      [thread-safe]  any thread at any time
 *    Different instances may run at the same time: no mutable statics.
 * 6. A pointer handed to a plugin is borrowed for the call unless its comment
 *    says otherwise. Never free it, keep it or write through a const one.
 * 7. A plugin never exits, aborts, prints to stdout, installs signal handlers,
 *    changes locale or directory, throws or longjmps across the boundary, or
 *    leaves a thread running after destroy/close. It runs no code at load time.
 */
#ifndef REIN_ABI_H
#define REIN_ABI_H

#include <stddef.h>
#include <stdint.h>

#define REIN_ABI_MAJOR 0u
#define REIN_ABI_MINOR 2u
#define REIN_ABI_VERSION ((REIN_ABI_MAJOR << 16) | REIN_ABI_MINOR)

#if defined(__GNUC__)
#define REIN_EXPORT __attribute__((visibility("default")))
#else
#define REIN_EXPORT
#endif

#ifdef __cplusplus
#define REIN_EXTERN_C extern "C"
#else
#define REIN_EXTERN_C extern
#endif

/* A function of these headers that device compilers may call on the device too. */
#ifdef __CUDACC__
#define REIN_INLINE static inline __host__ __device__
#else
#define REIN_INLINE static inline
#endif

/* True when `member` lies inside the part of *p its author knew about. */
#define REIN_HAS(p, type, member) ((p)->size >= offsetof(type, member) + sizeof((p)->member))

/* Status codes. Zero is success, failures are negative, never errno values. */
#define REIN_OK              0
#define REIN_ERR_NOMEM       (-1)
#define REIN_ERR_ARG         (-2) /* the caller's arguments or the user's configuration are wrong */
#define REIN_ERR_UNSUPPORTED (-3) /* not provided by this plugin (a type, a shape, an option) */
#define REIN_ERR_DEVICE      (-4)
#define REIN_ERR_INTERNAL    (-5)
#define REIN_ERR_IO          (-6)
typedef int32_t rein_status;

#endif

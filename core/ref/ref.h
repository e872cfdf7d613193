/* core/ref/ref.h - the reference backend: plain C, double accumulators, always there.
 * SPDX-License-Identifier: MIT
 *
 * Every kernel of the table, for every dtype. It is the oracle that other backends are
 * held against and the fallback for their empty slots: its kernels ignore the `dev` argument, so
 * they may be called with another backend's. A fallback's failure carries no text.
 */
#ifndef REIN_CORE_REF_H
#define REIN_CORE_REF_H

#include <rein/plugin.h>

extern const struct rein_plugin ref_plugin;

#endif

/* tests/fuzz/fuzz_adapter.h - the entry of libFuzzer for adapters' folders, which check_adapter calls too.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_TESTS_FUZZ_ADAPTER_H
#define REIN_TESTS_FUZZ_ADAPTER_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern unsigned long fuzz_adapters_accepted; /* inputs that are adapters */

#endif

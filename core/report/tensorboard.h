/* core/report/tensorboard.h - events.out.tfevents.* in a stage's folder, for TensorBoard.
 * SPDX-License-Identifier: MIT
 *
 * A file is a row of records {uint64 length, masked CRC-32C of it, bytes, masked CRC-32C of them}, little-endian, each
 * holding an Event (event.proto).
 */
#ifndef REIN_CORE_TENSORBOARD_H
#define REIN_CORE_TENSORBOARD_H

#include "report/sink.h"

int tensorboard_open(struct report_sink *sink, struct error *err);
void tensorboard_close(struct report_sink *sink);

/* CRC-32C (Castagnoli), and as TFRecord stores it. */
uint32_t tensorboard_crc(const void *data, size_t length);
uint32_t tensorboard_masked_crc(const void *data, size_t length);

#endif

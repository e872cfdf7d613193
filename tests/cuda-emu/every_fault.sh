#!/bin/sh
# SPDX-License-Identifier: MIT
# faults.sh with every call of the pipeline instead of some.
every_fault=all
export every_fault
exec sh "$srcdir/tests/cuda-emu/faults.sh"

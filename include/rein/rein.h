/* rein/rein.h - everything. SPDX-License-Identifier: MIT */
#ifndef REIN_REIN_H
#define REIN_REIN_H
#include "abi.h"
#include "param.h"
#include "plugin.h"
#include "host.h"
#include "algorithm.h"
#include "perturb.h"
#include "reward.h"
#include "backend.h"
#include "util.h"
#endif

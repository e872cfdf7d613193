/* SPDX-License-Identifier: MIT */
#include "common/gae.h"
#include "common/numeric.h"

void gae(const double *reward, const float *value, const uint8_t *mask, uint32_t n, double gamma, double lambda,
         double *advantage, double *return_) {
    double next_value = 0, next_advantage = 0;

    for (uint32_t t = n; t-- > 0;) {
        if (!counts(mask, t))
            continue;
        double delta = reward[t] + gamma * next_value - (double)value[t];
        next_advantage = delta + gamma * lambda * next_advantage;
        next_value = (double)value[t];
        advantage[t] = next_advantage;
        return_[t] = next_advantage + next_value;
    }
}

void discounted_returns(const double *reward, const uint8_t *mask, uint32_t n, double gamma, double *return_) {
    double to_go = 0;

    for (uint32_t t = n; t-- > 0;)
        if (counts(mask, t))
            return_[t] = to_go = reward[t] + gamma * to_go;
}

void reward_minus_value(const double *reward, const float *value, const uint8_t *mask, uint32_t n, double gamma,
                        double *advantage, double *return_) {
    uint32_t first = 0;

    discounted_returns(reward, mask, n, gamma, return_);
    while (first < n && !counts(mask, first))
        first++;
    for (uint32_t t = first; t < n; t++)
        if (counts(mask, t))
            advantage[t] = return_[first] - (double)value[first];
}

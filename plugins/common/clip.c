/* SPDX-License-Identifier: MIT */
#include "common/clip.h"
#include "common/numeric.h"

struct surrogate surrogate_clip(double log_ratio, double advantage, double low, double high, double dual) {
    int limited = log_ratio > LOG_RATIO_MAX;
    double ratio = exp(limited ? LOG_RATIO_MAX : log_ratio);
    double plain = -advantage * ratio;
    double clipped = -advantage * clampd(ratio, 1 - low, 1 + high);
    struct surrogate s = {.loss = plain, .d_logp = limited ? 0 : plain, .ratio = ratio, .clipped = clipped > plain};

    if (s.clipped) {
        s.loss = clipped;
        s.d_logp = 0;
    }
    if (dual > 0 && advantage < 0 && s.loss > -advantage * dual) {
        s.loss = -advantage * dual;
        s.d_logp = 0;
    }
    return s;
}

struct surrogate surrogate_cispo(double log_ratio, double advantage, double logp, double cap) {
    double ratio = exp(fmin(log_ratio, LOG_RATIO_MAX)), factor = -advantage * fmin(ratio, cap);

    return (struct surrogate){
        .loss = factor * logp, .d_logp = factor, .ratio = ratio, .clipped = ratio > cap && advantage > 0};
}

struct value_loss value_clip(double value, double value_old, double return_, double clip) {
    double miss = value - return_;
    struct value_loss l = {.loss = 0.5 * miss * miss, .d_value = miss, .clipped = 0};

    if (clip > 0) {
        double near = clampd(value, value_old - clip, value_old + clip) - return_;
        if (near * near > miss * miss) {
            l.loss = 0.5 * near * near;
            l.d_value = 0;
            l.clipped = 1;
        }
    }
    return l;
}

/* plugins/common/clip.h - PPO's clipped surrogate and clipped value loss, with derivatives.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_CLIP_H
#define REIN_COMMON_CLIP_H

struct surrogate {
    double loss;   /* to be minimised */
    double d_logp; /* its derivative with respect to the numerator's log-probability */
    double ratio;  /* rho = e^log_ratio */
    int clipped;   /* 1: the clipped branch is the larger loss */
};

/* Schulman et al., arXiv 1707.06347, eq. 7, as a loss:
 *     max(-A rho, -A clamp(rho, 1 - low, 1 + high))
 * and for A < 0 never more than -A dual (Ye et al., arXiv 1912.09729) unless dual is 0.
 * log_ratio is limited to LOG_RATIO_MAX from above; the derivative is 0 beyond, and 0
 * wherever a constant branch wins. On a tie the branch with the derivative is taken. */
struct surrogate surrogate_clip(double log_ratio, double advantage, double low, double high, double dual);

/* CISPO, MiniMax-M1, arXiv 2506.13585: -min(rho, cap) A logp with the factor held constant, so that no token loses its
 * derivative. It is not the derivative of `loss` as a function of logp: that is the method. */
struct surrogate surrogate_cispo(double log_ratio, double advantage, double logp, double cap);

struct value_loss {
    double loss; /* 0.5 max((v - R)^2, (clamp(v, old - clip, old + clip) - R)^2) */
    double d_value;
    int clipped;
};

/* `clip` of 0: plain 0.5 (v - R)^2. */
struct value_loss value_clip(double value, double value_old, double return_, double clip);

#endif

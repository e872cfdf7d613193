/* SPDX-License-Identifier: MIT */
#include "model/config_rope.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A dictionary in it is one rope for each kind of layer. One key in two places is refused when they differ: versions of
 * transformers do not agree on which counts. */
static int check_members(struct json_reader *r, struct json_reader *sub) {
    static const char *const twice[] = {"rope_theta", "partial_rotary_factor", "original_max_position_embeddings"};
    const char *name;
    const json_t *value, *outer;

    json_object_foreach(
        (json_t *)(uintptr_t)sub->object, name,
        value) if (json_is_object(value)) return json_reader_fail(sub, "a rope of its own for '%.60s' is not supported",
                                                                  name);
    for (size_t i = 0; i < sizeof(twice) / sizeof(twice[0]); i++) {
        value = json_object_get(sub->object, twice[i]);
        outer = json_object_get(r->object, twice[i]);
        if (json_is_number(value) && json_is_number(outer) && json_number_value(value) != json_number_value(outer))
            return json_reader_fail(sub, "%s is %g, but %g outside of it", twice[i], json_number_value(value),
                                    json_number_value(outer));
    }
    return 0;
}

/* rope_scaling of transformers 4 ("type" or "rope_type") and rope_parameters of 5 have the same keys; with both, the
 * first counts, in either version. */
int config_read_rope(struct json_reader *r, struct model_config *out) {
    struct json_reader sub = *r;
    const char *kind;
    const char *key = "rope_scaling";
    char place[512];
    double theta;

    theta = json_reader_real(r, "rope_theta", 1.0, 1e12, 10000.0);
    if (json_reader_real(r, "partial_rotary_factor", 0.0, 1.0, 1.0) != 1.0)
        return json_reader_fail(r, "partial_rotary_factor other than 1 is not supported");
    out->rope = ROPE_DEFAULT;
    out->rope_theta = (float)theta;
    sub.object = json_object_get(r->object, key);
    if (sub.object == NULL || json_is_null(sub.object)) {
        key = "rope_parameters";
        sub.object = json_object_get(r->object, key);
    }
    if (r->failed || sub.object == NULL || json_is_null(sub.object))
        return r->failed ? -1 : 0;
    if (!json_is_object(sub.object))
        return json_reader_fail(r, "key '%s' must be an object", key);

    snprintf(place, sizeof(place), "%s: in '%s'", r->name, key);
    sub.name = place;
    if (check_members(r, &sub) != 0)
        return -1;
    out->rope_theta = (float)json_reader_real(&sub, "rope_theta", 1.0, 1e12, theta);
    if (json_reader_real(&sub, "partial_rotary_factor", 0.0, 1.0, 1.0) != 1.0)
        json_reader_fail(&sub, "partial_rotary_factor other than 1 is not supported");
    kind = json_reader_string(&sub, "rope_type", json_reader_string(&sub, "type", "default"));
    if (sub.failed || strcmp(kind, "default") == 0)
        return sub.failed ? -1 : 0;
    if (strcmp(kind, "linear") != 0 && strcmp(kind, "llama3") != 0)
        return json_reader_fail(&sub, "rope type '%s' is not supported; supported are default, linear and llama3",
                                kind);
    out->rope = kind[1] == 'i' ? ROPE_LINEAR : ROPE_LLAMA3;
    out->rope_factor = (float)json_reader_real(&sub, "factor", 1e-3, 1e6, 0.0);
    if (!sub.failed && out->rope_factor == 0.0f)
        json_reader_fail(&sub, "key 'factor' is missing");
    if (out->rope == ROPE_LLAMA3) {
        out->rope_low = (float)json_reader_real(&sub, "low_freq_factor", 1e-3, 1e6, 1.0);
        out->rope_high = (float)json_reader_real(&sub, "high_freq_factor", 1e-3, 1e6, 4.0);
        out->rope_original =
            json_reader_int(&sub, "original_max_position_embeddings", 1, INT32_MAX,
                            json_reader_int(r, "original_max_position_embeddings", 1, INT32_MAX, out->positions));
        if (!sub.failed && !(out->rope_high > out->rope_low))
            json_reader_fail(&sub, "high_freq_factor must be greater than low_freq_factor");
    }
    return sub.failed ? -1 : 0;
}

/* transformers, modeling_rope_utils.py: default, linear and llama3 parameters. Rounded to float32 where torch rounds:
 * a frequency that is off by one unit in the last place turns into a visible angle at position 8192. */
void config_rope(const struct model_config *c, float *frequencies, float *scale) {
    const float factor = c->rope_factor, low = c->rope_low, high = c->rope_high, original = (float)c->rope_original;

    for (int64_t i = 0; i < c->head_dim / 2; i++) {
        const float exponent = (float)(2 * i) / (float)c->head_dim;
        float f = 1.0f / (float)pow((double)c->rope_theta, (double)exponent);
        const float wavelength = 6.28318530717958647692f / f;
        if (c->rope == ROPE_LINEAR) {
            f /= factor;
        } else if (c->rope == ROPE_LLAMA3) {
            if (wavelength > original / low) {
                f /= factor;
            } else if (wavelength >= original / high) {
                const float smooth = (original / wavelength - low) / (high - low);
                f = (1.0f - smooth) * f / factor + smooth * f;
            }
        }
        frequencies[i] = f;
    }
    *scale = 1.0f;
}

/* SPDX-License-Identifier: MIT */
#include "conform/rig.h"

#include <math.h>

enum { MOST_SEGMENTS = 8 };

/* A set of segments, and how many rows q and k, v have. */
struct layout {
    const char *name;
    int n;
    struct rein_segment segments[MOST_SEGMENTS]; /* {q_begin, q_rows, prefix_begin, prefix_rows, kv_begin, kv_rows} */
    int64_t q_rows, kv_rows;
    bool backward; /* training: every segment's queries are its own keys, or its last ones */
};

static const struct layout layouts[] = {
    {"one token", 1, {{0, 1, 0, 0, 0, 1}}, 1, 1, true},
    {"one sequence", 1, {{0, 37, 0, 0, 0, 37}}, 37, 37, true},
    {"one long sequence", 1, {{0, 131, 0, 0, 0, 131}}, 131, 131, true},
    {"packed", 4, {{0, 5, 0, 0, 0, 5}, {5, 1, 0, 0, 5, 1}, {6, 64, 0, 0, 6, 64}, {70, 33, 0, 0, 70, 33}}, 103, 103,
     true},
    {"shared prefix",
     4,
     {{0, 70, 0, 0, 0, 70}, {70, 9, 0, 70, 70, 9}, {79, 40, 0, 70, 79, 40}, {119, 1, 0, 70, 119, 1}},
     120,
     120,
     true},
    {"decode", 4, {{0, 1, 0, 0, 0, 11}, {1, 1, 0, 0, 20, 1}, {2, 1, 0, 0, 30, 100}, {3, 1, 0, 0, 140, 65}}, 4, 205,
     false},
    {"decode after a prefix", 3, {{0, 1, 50, 13, 0, 11}, {1, 1, 50, 13, 20, 1}, {2, 1, 50, 13, 70, 70}}, 3, 140, false},
    {"decode after a long prefix",
     8,
     {{0, 1, 20, 140, 0, 5}, {1, 1, 20, 140, 5, 1}, {2, 1, 20, 140, 6, 14}, {3, 1, 20, 139, 160, 70},
      {4, 1, 20, 139, 230, 2}, {5, 1, 0, 0, 232, 3}, {6, 1, 20, 128, 235, 1}, {7, 1, 20, 128, 236, 65}},
     8,
     301,
     false},
    {"decode after a long cache", /* more keys than a GPU's block takes on */
     3,
     {{0, 1, 0, 300, 300, 270}, {1, 1, 0, 0, 570, 257}, {2, 2, 0, 0, 827, 513}},
     4,
     1340,
     false},
    {"a chunk after a cache", 2, {{0, 17, 0, 0, 0, 90}, {17, 8, 100, 20, 130, 10}}, 25, 140, true},
    {"no queries", 2, {{0, 0, 0, 0, 0, 5}, {0, 3, 0, 0, 5, 3}}, 3, 8, true},
    {"nothing", 0, {{0, 0, 0, 0, 0, 0}}, 0, 0, true},
};

struct shape {
    int64_t heads, kv_heads, head_dim, window, gap;
};

static const struct shape shapes[] = {{1, 1, 4, 0, 0},    {9, 3, 64, 0, 0},  {4, 4, 13, 0, 5},
                                      {6, 2, 40, 7, 3},   {2, 1, 96, 70, 0}, {7, 1, 16, 1, 0}};

static void forward(struct rig *r, const struct layout *l, const struct shape *s, bool keep) {
    int64_t ldq = s->heads * s->head_dim + s->gap, ldk = s->kv_heads * s->head_dim + s->gap;
    struct array *q, *k, *v, *out, *lse;

    rig_begin(r, "attention: %s, %d/%d heads of %d, window %d", l->name, (int)s->heads, (int)s->kv_heads,
              (int)s->head_dim, (int)s->window);
    q = rig_array(r, RIG_IN, l->q_rows, s->heads * s->head_dim, ldq, REIN_F32);
    k = rig_array(r, RIG_IN, l->kv_rows, s->kv_heads * s->head_dim, ldk, REIN_F32);
    v = rig_array(r, RIG_IN, l->kv_rows, s->kv_heads * s->head_dim, ldk, REIN_F32);
    rig_scale(q, 3.0f, 0.0f);
    out = rig_array(r, RIG_OUT, l->q_rows, s->heads * s->head_dim, ldq, REIN_F32);
    lse = keep ? rig_array(r, RIG_OUT, l->q_rows, s->heads, s->heads, REIN_F32) : NULL;
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_attention a = {.nsegments = (uint32_t)l->n, .segments = l->segments, .heads = s->heads,
                                   .kv_heads = s->kv_heads, .head_dim = s->head_dim, .window = s->window, .ldq = ldq,
                                   .ldk = ldk, .ldv = ldk, .ldout = ldq, .q = rig_at(q, side), .k = rig_at(k, side),
                                   .v = rig_at(v, side), .out = rig_at(out, side), .lse = rig_at(lse, side),
                                   .scale = 1.0f / sqrtf((float)s->head_dim)};
        RIG_CALL(r, side, attention, &a);
    }
    rig_end(r);
}

/* out and lse as the reference's forward writes them, for every side. */
static void backward(struct rig *r, const struct layout *l, const struct shape *s) {
    int64_t ldq = s->heads * s->head_dim + s->gap, ldk = s->kv_heads * s->head_dim + s->gap;
    struct array *q, *k, *v, *out, *lse, *dout, *dq, *dk, *dv;

    rig_begin(r, "attention derivative: %s, %d/%d heads of %d, window %d", l->name, (int)s->heads, (int)s->kv_heads,
              (int)s->head_dim, (int)s->window);
    q = rig_array(r, RIG_IN, l->q_rows, s->heads * s->head_dim, ldq, REIN_F32);
    k = rig_array(r, RIG_IN, l->kv_rows, s->kv_heads * s->head_dim, ldk, REIN_F32);
    v = rig_array(r, RIG_IN, l->kv_rows, s->kv_heads * s->head_dim, ldk, REIN_F32);
    out = rig_array(r, RIG_IN, l->q_rows, s->heads * s->head_dim, ldq, REIN_F32);
    lse = rig_array(r, RIG_IN, l->q_rows, s->heads, s->heads, REIN_F32);
    dout = rig_array(r, RIG_IN, l->q_rows, s->heads * s->head_dim, ldq, REIN_F32);
    dq = rig_array(r, RIG_BOTH, l->q_rows, s->heads * s->head_dim, ldq + 1, REIN_F32);
    dk = rig_array(r, RIG_BOTH, l->kv_rows, s->kv_heads * s->head_dim, ldk + 2, REIN_F32);
    dv = rig_array(r, RIG_BOTH, l->kv_rows, s->kv_heads * s->head_dim, ldk + 3, REIN_F32);
    struct rein_attention f = {.size = sizeof(f), .nsegments = (uint32_t)l->n, .segments = l->segments,
                               .heads = s->heads, .kv_heads = s->kv_heads, .head_dim = s->head_dim,
                               .window = s->window, .ldq = ldq, .ldk = ldk, .ldv = ldk, .ldout = ldq,
                               .q = rig_first(q), .k = rig_first(k), .v = rig_first(v), .out = rig_first(out),
                               .lse = rig_first(lse), .scale = 1.0f / sqrtf((float)s->head_dim)};
    ref_attention(NULL, &f);
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_attention_dx a = {.nsegments = f.nsegments, .segments = l->segments, .heads = s->heads,
                                      .kv_heads = s->kv_heads, .head_dim = s->head_dim, .window = s->window,
                                      .ldq = ldq, .ldk = ldk, .ldv = ldk, .ldout = ldq, .lddq = dq->ld,
                                      .lddk = dk->ld, .lddv = dv->ld, .q = rig_at(q, side), .k = rig_at(k, side),
                                      .v = rig_at(v, side), .out = rig_at(out, side), .lse = rig_at(lse, side),
                                      .dout = rig_at(dout, side), .dq = rig_at(dq, side), .dk = rig_at(dk, side),
                                      .dv = rig_at(dv, side), .scale = f.scale};
        RIG_CALL(r, side, attention_dx, &a);
    }
    rig_end(r);
}

/* More heads to a kv head than a tile may hold, and a wide head. */
static void extremes(struct rig *r) {
    static const struct shape wide[] = {{70, 1, 8, 0, 0}, {1, 1, 256, 0, 0}, {2, 1, 300, 20, 0}, {1, 1, 512, 0, 3}};

    for (size_t i = 0; i < sizeof(wide) / sizeof(*wide); i++) {
        forward(r, &layouts[1], &wide[i], true);
        backward(r, &layouts[1], &wide[i]);
    }
}

void check_attention(struct rig *r) {
    const size_t count = sizeof(layouts) / sizeof(*layouts), nshapes = sizeof(shapes) / sizeof(*shapes);

    for (size_t l = 0; l < count; l++)
        for (size_t s = 0; s < nshapes; s++)
            forward(r, &layouts[l], &shapes[s], (l + s) % 3 != 0);
    rig_report(r, "attention");
    for (size_t l = 0; l < count; l++)
        for (size_t s = 0; s < nshapes && layouts[l].backward; s++)
            backward(r, &layouts[l], &shapes[s]);
    rig_report(r, "attention_dx");
    extremes(r);
    rig_report(r, "attention with many or wide heads");
}

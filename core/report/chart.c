/* SPDX-License-Identifier: MIT */
#include "report/chart.h"

#include <math.h>

/* The figure, in SVG units: room for the labels left of and below the axes. */
enum { WIDTH = 360, HEIGHT = 170, LEFT = 52, RIGHT = 8, TOP = 8, BOTTOM = 22, POINTS = 320 };

struct frame {
    double x0, x1, y0, y1;
};

void chart_escape(struct buffer *out, const char *text) {
    for (; *text; text++)
        switch (*text) {
        case '&':
            buffer_text(out, "&amp;");
            break;
        case '<':
            buffer_text(out, "&lt;");
            break;
        case '>':
            buffer_text(out, "&gt;");
            break;
        case '"':
            buffer_text(out, "&quot;");
            break;
        default:
            buffer_byte(out, (unsigned char)*text);
        }
}

void chart_number(struct buffer *out, double x) {
    if (!isfinite(x))
        buffer_text(out, "&ndash;");
    else if (x == floor(x) && fabs(x) < 1e7)
        buffer_printf(out, "%.0f", x);
    else
        buffer_printf(out, "%.4g", x);
}

static void widen(struct frame *f, const struct series *s) {
    for (size_t i = 0; s != NULL && i < s->count; i++) {
        if (!isfinite(s->value[i]))
            continue;
        f->x0 = fmin(f->x0, s->step[i]);
        f->x1 = fmax(f->x1, s->step[i]);
        f->y0 = fmin(f->y0, s->value[i]);
        f->y1 = fmax(f->y1, s->value[i]);
    }
}

static double px(const struct frame *f, double x) {
    return LEFT + (WIDTH - LEFT - RIGHT) * (x - f->x0) / (f->x1 - f->x0);
}

static double py(const struct frame *f, double y) {
    return TOP + (HEIGHT - TOP - BOTTOM) * (f->y1 - y) / (f->y1 - f->y0);
}

/* 1, 2 or 5 times a power of ten, about a third of the span. */
static double tick_step(double span) {
    const double raw = span / 3, power = pow(10, floor(log10(raw))), share = raw / power;

    return power * (share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10);
}

static void axes(struct buffer *out, const struct frame *f) {
    const double step = tick_step(f->y1 - f->y0);

    for (double y = ceil(f->y0 / step) * step; y <= f->y1 + step * 1e-9; y += step) {
        buffer_printf(out, "<line class=g x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH - RIGHT, py(f, y),
                      py(f, y));
        buffer_printf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 5, py(f, y) + 3.5);
        chart_number(out, fabs(y) < step * 1e-9 ? 0 : y);
        buffer_text(out, "</text>");
    }
    buffer_printf(out, "<text x=\"%d\" y=\"%d\">", LEFT, HEIGHT - 6);
    chart_number(out, f->x0);
    buffer_printf(out, "</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">step ", WIDTH - RIGHT, HEIGHT - 6);
    chart_number(out, f->x1);
    buffer_text(out, "</text>");
}

/* Long curves are drawn as the means of POINTS stretches. */
static void curve(struct buffer *out, const struct frame *f, const struct series *s, const char *class) {
    const size_t stretch = s->count > POINTS ? (s->count + POINTS - 1) / POINTS : 1;

    buffer_printf(out, "<polyline class=%s points=\"", class);
    for (size_t i = 0; i < s->count; i += stretch) {
        double x = 0, y = 0;
        size_t n = 0;

        for (size_t j = i; j < i + stretch && j < s->count; j++)
            if (isfinite(s->value[j])) {
                x += s->step[j];
                y += s->value[j];
                n++;
            }
        if (n > 0)
            buffer_printf(out, "%.1f,%.1f ", px(f, x / (double)n), py(f, y / (double)n));
    }
    buffer_text(out, "\"/>");
}

static void dots(struct buffer *out, const struct frame *f, const struct series *s, const char *class) {
    for (size_t i = 0; i < s->count; i++)
        if (isfinite(s->value[i]))
            buffer_printf(out, "<circle class=%s cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", class, px(f, s->step[i]),
                          py(f, s->value[i]));
}

static void last_value(struct buffer *out, const struct series *s, const char *class) {
    buffer_printf(out, " <b class=%s>", class);
    chart_number(out, s->value[s->count - 1]);
    buffer_text(out, "</b>");
}

void chart_write(struct buffer *out, const char *title, const struct series *train, const struct series *eval) {
    struct frame f = {INFINITY, -INFINITY, INFINITY, -INFINITY};

    widen(&f, train);
    widen(&f, eval);
    buffer_text(out, "<figure><figcaption>");
    chart_escape(out, title);
    if (train != NULL && train->count)
        last_value(out, train, "a");
    if (eval != NULL && eval->count)
        last_value(out, eval, "e");
    buffer_text(out, "</figcaption>");
    if (!(f.x1 >= f.x0)) {
        buffer_text(out, "<p>no finite value</p></figure>\n");
        return;
    }
    if (f.x1 == f.x0)
        f.x0 -= 0.5, f.x1 += 0.5;
    if (f.y1 - f.y0 <= 1e-12 * fmax(fabs(f.y0), fabs(f.y1)) || f.y1 == f.y0) {
        const double room = f.y0 != 0 ? fabs(f.y0) * 0.1 : 1;
        f.y0 -= room, f.y1 += room;
    }
    buffer_printf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\">", WIDTH, HEIGHT);
    axes(out, &f);
    if (train != NULL && train->count > 1)
        curve(out, &f, train, "a");
    else if (train != NULL)
        dots(out, &f, train, "a");
    if (eval != NULL && eval->count > 1)
        curve(out, &f, eval, "e");
    if (eval != NULL)
        dots(out, &f, eval, "e");
    buffer_text(out, "</svg></figure>\n");
}

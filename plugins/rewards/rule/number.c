/* SPDX-License-Identifier: MIT */
#include "rewards/rule/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int digit(char c) {
    return c >= '0' && c <= '9';
}

static int letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Does a letter, perhaps with ^ or a point, stand right before text[at]? */
static int glued(const char *text, size_t at) {
    if (at > 1 && (text[at - 1] == '^' || text[at - 1] == '.'))
        at--;
    return at > 0 && letter(text[at - 1]);
}

static int word(char c) {
    return digit(c) || letter(c) || c == ')' || c == ']';
}

/* Does a minus stand before text[at], meaning "negative"? U+2212 counts as one. */
static int negative(const char *text, size_t at) {
    if (at > 0 && text[at - 1] == '$')
        at--;
    if (at > 0 && text[at - 1] == '-')
        return at == 1 || !word(text[at - 2]);
    if (at > 2 && !memcmp(text + at - 3, "\xe2\x88\x92", 3))
        return at == 3 || !word(text[at - 4]);
    return 0;
}

/* One past the number that starts at `at`. */
static size_t end_of(const char *text, size_t length, size_t at) {
    size_t i = at;

    while (i < length && digit(text[i]))
        i++;
    /* groups of exactly three: "1,234" is a number, "1,2" are two */
    while (i > at && i + 3 < length && text[i] == ',' && digit(text[i + 1]) && digit(text[i + 2]) &&
           digit(text[i + 3]) && (i + 4 == length || !digit(text[i + 4])))
        i += 4;
    if (i + 1 < length && text[i] == '.' && digit(text[i + 1]))
        for (i++; i < length && digit(text[i]);)
            i++;
    return i;
}

static int spell(const char *text, size_t from, size_t to, int minus, struct number *out) {
    size_t n = 0, point = 0;
    char *o = out->text;

    if (to - from + 4 > sizeof(out->text))
        return 0;
    if (minus)
        o[n++] = '-';
    while (from < to && (text[from] == '0' || text[from] == ','))
        from++;
    if (from == to || text[from] == '.')
        o[n++] = '0';
    for (; from < to; from++) {
        if (text[from] == ',')
            continue;
        if (text[from] == '.')
            point = n;
        o[n++] = text[from];
    }
    while (point && (o[n - 1] == '0' || n - 1 == point))
        if (--n == point)
            point = 0;
    o[n] = 0;
    if (!strcmp(o, "-0"))
        strcpy(o, "0");
    return 1;
}

int number_last(const char *text, size_t length, struct number *out) {
    size_t from = 0, to = 0;
    int alone = 0;

    for (size_t i = 0, end; i < length; i = end) {
        int fraction = text[i] == '.' && i + 1 < length && digit(text[i + 1]) &&
                       (i == 0 || (!digit(text[i - 1]) && !letter(text[i - 1])));
        end = i + 1;
        if (!digit(text[i]) && !fraction)
            continue;
        end = end_of(text, length, i);
        if (alone && glued(text, i))
            continue;
        alone = !glued(text, i);
        from = i;
        to = end;
    }
    return to > from && spell(text, from, to, negative(text, from), out);
}

int number_of(double value, struct number *out) {
    char text[400];
    double size = fabs(value);
    int whole = size >= 1 ? (int)floor(log10(size)) + 1 : 1;

    if (!isfinite(value))
        return 0;
    snprintf(text, sizeof(text), "%.*f", whole < 15 ? 15 - whole : 0, size);
    for (char *c = text; *c; c++)
        if (!digit(*c))
            *c = '.'; /* whatever the locale writes */
    return spell(text, 0, strlen(text), value < 0, out);
}

int number_equal(const struct number *a, const struct number *b, double tolerance) {
    return !strcmp(a->text, b->text) ||
           (tolerance > 0 && fabs(strtod(a->text, NULL) - strtod(b->text, NULL)) <= tolerance);
}

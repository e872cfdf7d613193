/* plugins/rewards/rule/number.h - numbers in running text, compared without rounding.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_RULE_NUMBER_H
#define REIN_RULE_NUMBER_H

#include <stddef.h>

/* A decimal number in one spelling: "-1234.5", never "+", ",", leading zeros, or zeros at the end of a fraction. */
struct number {
    char text[128];
};

/* The last number in `text` that stands by itself; else the last that is glued to a letter before it, as the 2 of "m2",
 * "cm^2" or "Rs.500" ("20 m2" gives 20). Digits, perhaps with commas between groups of three, a fraction, and a sign
 * (before a currency sign too) that does not follow a letter, a digit or a bracket, where it would mean "to" or
 * "minus". "1,234.50 dollars." gives 1234.5, "10-5" gives 5. Exponents are not known. Returns 0 when there is none, or
 * when it has more than some 120 digits. */
int number_last(const char *text, size_t length, struct number *out);

/* A JSON number in the same spelling, to 15 significant digits. */
int number_of(double value, struct number *out);

/* Digit by digit, or as numbers that differ by `tolerance` at most. */
int number_equal(const struct number *a, const struct number *b, double tolerance);

#endif

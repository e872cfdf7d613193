/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "rewards/rule/answer.h"
#include "rewards/rule/number.h"

#include <pcre2.h>
#include <stdio.h>
#include <string.h>

struct span answer_strip(const char *text, size_t length, int strip) {
    static const char space[] = " \t\r\n\v\f";

    while (strip && length && strchr(space, text[0]) && text[0]) {
        text++;
        length--;
    }
    while (strip && length && strchr(space, text[length - 1]) && text[length - 1])
        length--;
    return (struct span){text, length};
}

static int same_text(struct span a, struct span b, int ignore_case) {
    pcre2_code *code;
    pcre2_match_data *match;
    PCRE2_SIZE at;
    int error, same = a.length == b.length && !memcmp(a.text, b.text, a.length);

    if (same || !ignore_case || !a.length || !b.length)
        return same;
    /* the answer as a literal pattern: PCRE2 knows the cases of every script */
    code = pcre2_compile((PCRE2_SPTR)b.text, b.length,
                         PCRE2_LITERAL | PCRE2_UTF | PCRE2_CASELESS | PCRE2_ANCHORED | PCRE2_ENDANCHORED, &error, &at,
                         NULL);
    match = code ? pcre2_match_data_create_from_pattern(code, NULL) : NULL;
    same = match && pcre2_match(code, (PCRE2_SPTR)a.text, a.length, 0, 0, match, NULL) > 0;
    pcre2_match_data_free(match);
    pcre2_code_free(code);
    return same;
}

int answer_is(const struct comparison *how, struct span text, const json_t *answer) {
    struct number mine, right;
    char digits[32];
    int found = 0;

    if (!how->numbers && json_is_string(answer))
        return same_text(text, answer_strip(json_string_value(answer), json_string_length(answer), how->strip),
                         how->ignore_case);
    if (json_is_string(answer))
        found = number_last(json_string_value(answer), json_string_length(answer), &right);
    else if (json_is_integer(answer))
        found = number_last(
            digits, (size_t)snprintf(digits, sizeof(digits), "%" JSON_INTEGER_FORMAT, json_integer_value(answer)),
            &right);
    else if (!how->numbers && json_is_boolean(answer))
        return same_text(text, json_is_true(answer) ? (struct span){"true", 4} : (struct span){"false", 5},
                         how->ignore_case);
    else if (json_is_real(answer))
        found = number_of(json_real_value(answer), &right);
    if (!found)
        return -1;
    if (!how->numbers)
        return same_text(text, (struct span){right.text, strlen(right.text)}, how->ignore_case);
    return number_last(text.text, text.length, &mine) && number_equal(&mine, &right, how->tolerance);
}

/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/log.h"
#include "tap.h"
#include "text/dataset.h"
#include "text/jsonl.h"

#include <rein/algorithm.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define GOLDEN SOURCE_DIR "/tests/golden/"
enum { ANY_KIND = 31 };

static struct tokenizer *chat, *story; /* byte-level with chatml's tokens; SentencePiece-style with a BOS */
static char file[] = "check_dataset.XXXXXX";

static struct tokenizer *make_tokenizer(const char *base, const char *config) {
    char path[512];
    struct tokenizer *t = NULL;
    struct error err = {0};
    json_t *root;
    char *text;
    FILE *f;

    snprintf(path, sizeof path, GOLDEN "tokenizers/%s.json", base);
    root = json_load_file(path, 0, NULL);
    ck_assert_ptr_nonnull(root);
    if (strcmp(base, "bytes") == 0) {
        json_t *line;
        f = fopen(GOLDEN "templates/texts.jsonl", "r");
        ck_assert_ptr_nonnull(f);
        line = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);
        fclose(f);
        ck_assert_ptr_nonnull(line);
        json_object_set(root, "added_tokens", json_object_get(line, "added_tokens"));
        json_decref(line);
    }
    text = json_dumps(root, JSON_COMPACT);
    ck_assert_msg(tokenizer_parse(text, strlen(text), config, strlen(config), base, &t, &err) == 0, "%s", err.text);
    free(text);
    json_decref(root);
    return t;
}

static void setup(void) {
    const int fd = mkstemp(file);

    ck_assert_int_ge(fd, 0);
    close(fd);
    log_set_level(LOG_ERROR);
    chat = make_tokenizer("bytes", "{\"eos_token\": \"<|end|>\"}");
    story = make_tokenizer("pieces", "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
}

static void teardown(void) {
    unlink(file);
    tokenizer_free(chat);
    tokenizer_free(story);
}

static struct dataset_options options_for(const struct tokenizer *t) {
    return (struct dataset_options){.tokenizer = t,
                                    .chat = template_find("chatml", NULL),
                                    .kinds = ANY_KIND,
                                    .eos = true,
                                    .vocabulary = tokenizer_size(t)};
}

static void write_file(const char *text, size_t length) {
    FILE *f = fopen(file, "wb");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, length, f), length);
    ck_assert_int_eq(fclose(f), 0);
}

static int load(const char *text, const struct dataset_options *o, struct dataset *out, struct error *err) {
    write_file(text, strlen(text));
    *err = (struct error){0};
    return dataset_load(file, o, out, err);
}

/* A data set in one string: each row as role[prompt|rest], its mask behind a colon. */
static char *show(const struct dataset *d, const struct tokenizer *t) {
    struct buffer out = {0};

    for (size_t u = 0; u < d->nunits; u++) {
        const struct data_unit *unit = &d->units[u];
        for (uint32_t r = unit->first; r < unit->first + unit->rows; r++) {
            const struct data_row *row = &d->rows[r];
            buffer_printf(&out, "%c%u[", "-+x?"[row->role], row->rank);
            tokenizer_decode(t, row->ids, row->prompt_length, false, &out);
            buffer_byte(&out, '|');
            tokenizer_decode(t, row->ids + row->prompt_length, row->length - row->prompt_length, false, &out);
            buffer_byte(&out, ']');
            for (uint32_t i = 0; row->mask != NULL && i < row->length - row->prompt_length; i++)
                buffer_printf(&out, "%s%d", i ? "" : ":", row->mask[i]);
        }
        if (unit->has_margin)
            buffer_printf(&out, " margin %g", (double)unit->margin);
        if (d->kind == REIN_DATA_LABELLED)
            buffer_printf(&out, " label %d", unit->label);
        if (unit->messages != NULL)
            buffer_printf(&out, " %s", unit->messages);
        buffer_byte(&out, ';');
    }
    return buffer_take(&out);
}

static void expect(const char *text, const struct tokenizer *t, const struct dataset_options *o, uint32_t kind,
                   const char *want) {
    struct dataset d;
    struct error err;
    char *got;

    ck_assert_msg(load(text, o, &d, &err) == 0, "%s", err.text);
    ck_assert_msg(d.kind == kind, "%s: kind %u, not %u", text, d.kind, kind);
    got = show(&d, t);
    ck_assert_str_eq(got, want);
    free(got);
    dataset_free(&d);
}

/* Where labels are wanted, a pair is a good completion and a bad one; and labelled lines may stand beside it. */
START_TEST(pairs_are_taken_apart_for_labels) {
    struct dataset_options o = options_for(chat);
    struct dataset d;
    struct error err = {0};

    o.kinds = REIN_DATA_LABELLED;
    expect("{\"prompt\": \"The\", \"chosen\": \" sea\", \"rejected\": \" boat\"}\n"
           "{\"prompt\": \"The\", \"completion\": \" sea\", \"label\": false}",
           chat, &o, REIN_DATA_LABELLED,
           "-0[The| sea<|end|>] label 1;-1[The| boat<|end|>] label 0;-0[The| sea<|end|>] label 0;");
    ck_assert_int_eq(load("{\"prompt\": \"The\", \"completion\": \" sea\"}", &o, &d, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "labelled completions {prompt, completion, label}"));
    o.max_length = 12; /* too long for one is too long for both */
    expect("{\"prompt\": \"The\", \"chosen\": \" sea\", \"rejected\": \" boat boat boat boat boat boat boat boat boat boat boat boat\"}\n"
           "{\"prompt\": \"The\", \"chosen\": \" sea\", \"rejected\": \" sea\"}",
           chat, &o, REIN_DATA_LABELLED, "-0[The| sea<|end|>] label 1;-1[The| sea<|end|>] label 0;");
    o.kinds |= REIN_DATA_PAIRS;
    o.max_length = 0;
    expect("{\"prompt\": \"The\", \"chosen\": \" sea\", \"rejected\": \" boat\"}", chat, &o, REIN_DATA_PAIRS,
           "+0[The| sea<|end|>]x1[The| boat<|end|>];");
}
END_TEST

#define U(text) "<|im_start|>user\n" text "<|im_end|>\n"
#define A       "<|im_start|>assistant\n"

START_TEST(strings_of_every_shape) {
    const struct dataset_options o = options_for(chat);

    expect("{\"text\": \"The sea\"}", chat, &o, REIN_DATA_COMPLETIONS, "-0[|The sea<|end|>];");
    expect("{\"text\": \"The sea<|end|>\"}", chat, &o, REIN_DATA_COMPLETIONS, "-0[|The sea<|end|>];");
    expect("{\"prompt\": \"The\", \"completion\": \" sea\"}", chat, &o, REIN_DATA_COMPLETIONS, "-0[The| sea<|end|>];");
    expect("{\"prompt\": \"The\", \"completion\": \"\"}", chat, &o, REIN_DATA_COMPLETIONS, "-0[The|<|end|>];");
    expect("{\"prompt\": \"\", \"completion\": \"sea\"}", chat, &o, REIN_DATA_COMPLETIONS, "-0[|sea<|end|>];");
    expect("{\"prompt\": \"The\", \"completion\": \" sea\", \"label\": true}\n"
           "{\"prompt\": \"The\", \"completion\": \" sea\", \"label\": false}",
           chat, &o, REIN_DATA_LABELLED, "-0[The| sea<|end|>] label 1;-0[The| sea<|end|>] label 0;");
    expect("{\"prompt\": \"The\", \"chosen\": \" sea\", \"rejected\": \" boat\"}", chat, &o, REIN_DATA_PAIRS,
           "+0[The| sea<|end|>]x1[The| boat<|end|>];");
    expect("{\"chosen\": \"The good sea\", \"rejected\": \"The great boat\", \"margin\": -0.5}", chat, &o,
           REIN_DATA_PAIRS, "+0[The g|ood sea<|end|>]x1[The g|reat boat<|end|>] margin -0.5;");
    expect("{\"chosen\": \"The \xc3\xa9\", \"rejected\": \"The \xc3\xa8\"}", chat, &o, REIN_DATA_PAIRS,
           "+0[The| \xc3\xa9<|end|>]x1[The| \xc3\xa8<|end|>];");
    expect("{\"prompt\": \"The\", \"ranked\": [\" sea\", \" boat\", \"\"]}", chat, &o, REIN_DATA_LISTS,
           "-0[The| sea<|end|>]-1[The| boat<|end|>]-2[The|<|end|>];");
    expect("{\"prompt\": \"The\", \"answer\": 42}", chat, &o, REIN_DATA_PROMPTS, "-0[The|];");
    expect("{\"prompt\": \"The\", \"completion\": null, \"text\": \"extra\"}", chat, &o, REIN_DATA_PROMPTS, "-0[The|];");
}
END_TEST

START_TEST(bos_once_and_eos_as_wanted) {
    struct dataset_options o = options_for(story);

    expect("{\"text\": \"the sea\"}", story, &o, REIN_DATA_COMPLETIONS, "-0[|<s> the sea</s>];");
    expect("{\"text\": \"<s>the sea\"}", story, &o, REIN_DATA_COMPLETIONS, "-0[|<s> the sea</s>];");
    /* encoded apart, each piece gets the mark of a word's beginning; decoding drops the first of a text */
    expect("{\"prompt\": \"the\", \"completion\": \"sea</s>\"}", story, &o, REIN_DATA_COMPLETIONS,
           "-0[<s> the|sea</s>];");
    expect("{\"prompt\": \"\", \"completion\": \"sea\"}", story, &o, REIN_DATA_COMPLETIONS, "-0[<s>|sea</s>];");
    o.eos = false;
    expect("{\"text\": \"the sea\"}", story, &o, REIN_DATA_COMPLETIONS, "-0[|<s> the sea];");
    expect("{\"prompt\": \"the\", \"chosen\": \"sea\", \"rejected\": \"boat\"}", story, &o, REIN_DATA_PAIRS,
           "+0[<s> the|sea]x1[<s> the|boat];");
}
END_TEST

START_TEST(message_lists_are_templated) {
    const struct dataset_options o = options_for(chat);

    expect("{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", \"content\": \"ho\"}]}",
           chat, &o, REIN_DATA_COMPLETIONS, "-0[" U("hi") A "|ho<|im_end|>];");
    expect("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"},"
           "{\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"assistant\", \"content\": \"d\"},"
           "{\"role\": \"user\", \"content\": \"e\"}]}",
           chat, &o, REIN_DATA_COMPLETIONS,
           "-0[" U("a") A "|b<|im_end|>\n" U("c") A "d<|im_end|>]:110000000000000000011;");
    expect("{\"prompt\": [{\"role\": \"user\", \"content\": \"hi\"}], \"completion\": [{\"role\": \"assistant\","
           "\"content\": \"\"}]}",
           chat, &o, REIN_DATA_COMPLETIONS,
           "-0[" U("hi") A "|<|im_end|>] [{\"role\":\"user\",\"content\":\"hi\"}];");
    expect("{\"prompt\": [{\"role\": \"user\", \"content\": \"hi\"}], \"completion\": \"<|im_end|>\"}", chat, &o,
           REIN_DATA_COMPLETIONS, "-0[" U("hi") A "|<|im_end|><|im_end|>] [{\"role\":\"user\",\"content\":\"hi\"}];");
    expect("{\"chosen\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", \"content\": \"x\"}],"
           "\"rejected\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", \"content\": \"y\"}]}",
           chat, &o, REIN_DATA_PAIRS,
           "+0[" U("hi") A "|x<|im_end|>]x1[" U("hi") A "|y<|im_end|>] [{\"role\":\"user\",\"content\":\"hi\"}];");
    /* the same with equal answers: one message of each is left */
    expect("{\"prompt\": \"hi\", \"chosen\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\","
           "\"content\": \"x\"}], \"rejected\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\","
           "\"content\": \"x\"}]}",
           chat, &o, REIN_DATA_PAIRS,
           "+0[" U("hi") A "|x<|im_end|>]x1[" U("hi") A "|x<|im_end|>] [{\"role\":\"user\",\"content\":\"hi\"}];");
    expect("{\"prompt\": [{\"role\": \"user\", \"content\": \"hi\"}], \"ranked\": [\"a\", [{\"role\": \"assistant\","
           "\"content\": \"b\"}]]}",
           chat, &o, REIN_DATA_LISTS,
           "-0[" U("hi") A "|a<|im_end|>]-1[" U("hi") A "|b<|im_end|>] [{\"role\":\"user\",\"content\":\"hi\"}];");
    expect("{\"prompt\": [{\"role\": \"user\", \"content\": \"hi\"}]}", chat, &o, REIN_DATA_PROMPTS,
           "-0[" U("hi") A "|] [{\"role\":\"user\",\"content\":\"hi\"}];");
}
END_TEST

START_TEST(strings_are_templated_when_asked) {
    struct dataset_options o = options_for(chat);

    o.template_strings = true;
    expect("{\"prompt\": \"<|im_end|>\", \"completion\": \"ho\"}", chat, &o, REIN_DATA_COMPLETIONS,
           "-0[" U("<|im_end|>") A "|ho<|im_end|>] [{\"role\":\"user\",\"content\":\"<|im_end|>\"}];");
    expect("{\"prompt\": \"hi\"}", chat, &o, REIN_DATA_PROMPTS,
           "-0[" U("hi") A "|] [{\"role\":\"user\",\"content\":\"hi\"}];");
    expect("{\"text\": \"hi\"}", chat, &o, REIN_DATA_COMPLETIONS, "-0[|hi<|end|>];");
}
END_TEST

START_TEST(prompts_of_any_kind) {
    struct dataset_options o = options_for(chat);

    o.kinds = REIN_DATA_PROMPTS;
    expect("{\"prompt\": \"The\", \"completion\": \" sea\"}\n{\"prompt\": \"A\", \"chosen\": \"x\", \"rejected\": \"y\"}\n"
           "{\"prompt\": \"word\"}",
           chat, &o, REIN_DATA_PROMPTS, "-0[The|];-0[A|];-0[word|];");
    expect("{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", \"content\": \"ho\"}]}",
           chat, &o, REIN_DATA_PROMPTS, "-0[" U("hi") A "|] [{\"role\":\"user\",\"content\":\"hi\"}];");
    expect("{\"prompt_ids\": [5, 6], \"completion_ids\": [7]}", chat, &o, REIN_DATA_PROMPTS, "-0[$%|];");
}
END_TEST

START_TEST(token_ids_are_taken_as_they_are) {
    const struct dataset_options o = options_for(chat);

    expect("{\"input_ids\": [5, 6, 7], \"completion_mask\": [0, 1, 1]}", chat, &o, REIN_DATA_COMPLETIONS,
           "-0[|$%&]:011;");
    expect("{\"input_ids\": [5]}", chat, &o, REIN_DATA_COMPLETIONS, "-0[|$];");
    expect("{\"prompt_ids\": [5, 6], \"completion_ids\": [7]}", chat, &o, REIN_DATA_COMPLETIONS, "-0[$%|&];");
    expect("{\"prompt_ids\": [5], \"chosen_ids\": [6], \"rejected_ids\": [7, 8], \"margin\": 2}", chat, &o,
           REIN_DATA_PAIRS, "+0[$|%]x1[$|&'] margin 2;");
    expect("{\"prompt_ids\": [5, 6]}", chat, &o, REIN_DATA_PROMPTS, "-0[$%|];");
}
END_TEST

START_TEST(long_rows_are_dropped_or_refused) {
    struct dataset_options o = options_for(chat);
    struct dataset d;
    struct error err;

    o.max_length = 4;
    ck_assert_int_eq(load("{\"text\": \"a\"}\n{\"text\": \"123456\"}\n{\"text\": \"123\"}", &o, &d, &err), 0);
    ck_assert_uint_eq(d.nunits, 2);
    ck_assert_uint_eq(d.dropped, 1);
    ck_assert_uint_eq(d.longest, 4);
    ck_assert_uint_eq(d.tokens, 6);
    ck_assert_uint_eq(d.units[1].line, 3);
    ck_assert_str_eq(d.units[1].columns, "{\"text\": \"123\"}");
    dataset_free(&d);
    /* a pair goes as a whole */
    ck_assert_int_eq(load("{\"prompt\": \"1\", \"chosen\": \"2\", \"rejected\": \"34567\"}\n"
                          "{\"prompt\": \"1\", \"chosen\": \"2\", \"rejected\": \"3\"}",
                          &o, &d, &err),
                     0);
    ck_assert_uint_eq(d.nunits, 1);
    ck_assert_uint_eq(d.nrows, 2);
    ck_assert_uint_eq(d.units[0].first, 0);
    dataset_free(&d);
    ck_assert_int_eq(load("{\"text\": \"123456\"}", &o, &d, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "too long"));
    o.max_length = 0;
    o.prompt_room = 2;
    o.kinds = REIN_DATA_PROMPTS;
    ck_assert_int_eq(load("{\"prompt\": \"123\"}\n{\"prompt\": \"12\"}", &o, &d, &err), 0);
    ck_assert_uint_eq(d.nunits, 1);
    ck_assert_uint_eq(d.dropped, 1);
    dataset_free(&d);
    o.strict_prompts = true;
    ck_assert_int_eq(load("{\"prompt\": \"12\"}\n{\"prompt\": \"123\"}", &o, &d, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, ":2: the prompt has 3 tokens: there is room for 2"));
    o.context = 2;
    o.kinds = ANY_KIND;
    ck_assert_int_eq(load("{\"input_ids\": [1, 2]}\n{\"input_ids\": [1, 2, 3]}", &o, &d, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, ":2: the row has 3 tokens: the model has 2 positions"));
}
END_TEST

START_TEST(lines_blank_windows_gzip_and_limit) {
    static const char text[] = "\xef\xbb\xbf{\"text\": \"a\"}\r\n\r\n   \n{\"text\": \"b\"}\r\n{\"text\": \"c\"}";
    struct dataset_options o = options_for(chat);
    struct dataset d;
    struct error err = {0};
    gzFile gz;
    char *bytes;
    size_t length;

    expect(text, chat, &o, REIN_DATA_COMPLETIONS, "-0[|a<|end|>];-0[|b<|end|>];-0[|c<|end|>];");
    gz = gzopen(file, "wb");
    ck_assert_ptr_nonnull(gz);
    ck_assert_int_eq(gzwrite(gz, text, sizeof text - 1), sizeof text - 1);
    ck_assert_int_eq(gzclose(gz), Z_OK);
    ck_assert_msg(dataset_load(file, &o, &d, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(d.nunits, 3);
    ck_assert_uint_eq(d.units[2].line, 5);
    dataset_free(&d);
    o.limit = 2;
    ck_assert_int_eq(dataset_load(file, &o, &d, &err), 0);
    ck_assert_uint_eq(d.nunits, 2);
    dataset_free(&d);
    /* every cut of the gzip file */
    o.limit = 0;
    bytes = file_read(file, 1 << 20, &length, &err);
    ck_assert_ptr_nonnull(bytes);
    for (size_t n = 0; n < length; n++) {
        write_file(bytes, n);
        ck_assert_msg(dataset_load(file, &o, &d, &err) == -1 && err.kind == ERROR_INPUT, "%zu bytes", n);
    }
    free(bytes);
    ck_assert_int_eq(dataset_load("/", &o, &d, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_int_eq(dataset_load("/no/such/file.jsonl", &o, &d, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
}
END_TEST

static const struct {
    const char *line, *words; /* what the refusal says */
} wrong[] = {
    {"", "empty"},
    {"{", "not valid JSON"},
    {"{\"text\": \"a\"} {}", "not valid JSON"},
    {"{\"text\": \"a\",}", "not valid JSON"},
    {"{'text': 'a'}", "not valid JSON"},
    {"{\"text\": \"a\", \"text\": \"b\"}", "not valid JSON"},
    {"{\"text\": \"\\ud800\"}", "not valid JSON"},
    {"{\"text\": \"\xff\"}", ":1:11: not well-formed UTF-8"},
    {"{\"text\": \"\xed\xa0\x80\"}", "not well-formed UTF-8"},
    {"[]", "must be a JSON object, not a list"},
    {"3", "not valid JSON"},
    {"null", "not valid JSON"},
    {"{}", "none of the columns"},
    {"{\"txt\": \"a\"}", "'txt' is not a known column (did you mean 'text'?)"},
    {"{\"promt\": \"a\", \"completion\": \"b\"}", "'promt' is not a known column (did you mean 'prompt'?)"},
    {"{\"prompt\": \"a\", \"chosen\": \"b\", \"rejcted\": \"c\"}", "'rejected' is missing; 'rejcted' is not a known"},
    {"{\"prompt\": \"a\", \"rejected\": \"b\"}", "'chosen' is missing"},
    {"{\"completion\": \"a\"}", "'prompt' is missing"},
    {"{\"prompt\": 1}", "'prompt' must be a string or a list of messages, not a number"},
    {"{\"prompt\": true, \"completion\": \"\"}", "not true or false"},
    {"{\"prompt\": \"a\", \"completion\": {}}", "'completion' must be"},
    {"{\"prompt\": \"a\", \"completion\": \"b\", \"label\": 1}", "'label' must be true or false, not a number"},
    {"{\"prompt\": \"a\", \"completion\": \"b\", \"label\": \"true\"}", "'label' must be true or false, not a string"},
    {"{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\", \"margin\": \"1\"}", "'margin' must be a number"},
    {"{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\", \"margin\": 1e39}", "'margin' must be a number"},
    {"{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": 3}", "'rejected' must be"},
    {"{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": [\"c\"]}", "'chosen' is a string and 'rejected' is a list"},
    {"{\"chosen\": [{\"role\": \"user\", \"content\": \"a\"}], \"rejected\": [{\"role\": \"user\", \"content\": \"b\"}]}",
     "do not begin with the same messages"},
    {"{\"chosen\": [], \"rejected\": []}", "do not begin with the same messages"},
    {"{\"prompt\": \"a\", \"ranked\": \"b\"}", "'ranked' must be a list"},
    {"{\"prompt\": \"a\", \"ranked\": [\"b\"]}", "at least two"},
    {"{\"prompt\": \"a\", \"ranked\": [\"b\", 1]}", "'ranked' must be a string"},
    {"{\"ranked\": [\"a\", \"b\"]}", "'prompt' is missing"},
    {"{\"text\": [\"a\"]}", "'text' must be a string, not a list"},
    {"{\"messages\": \"a\"}", "'messages' must be a list"},
    {"{\"messages\": []}", "a conversation is empty"},
    {"{\"messages\": [\"a\"]}", "message 1 must be an object"},
    {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", "nothing that the assistant wrote"},
    {"{\"messages\": [{\"role\": \"robot\", \"content\": \"a\"}]}", "not 'robot'"},
    {"{\"messages\": [{\"role\": \"user\", \"content\": 1}]}", "'content' of message 1 must be a string"},
    {"{\"prompt\": \"a\", \"completion\": [{\"role\": \"assistant\", \"content\": \"b\"}]}", "use lists for both"},
    {"{\"prompt\": [], \"completion\": []}", "empty"},
    {"{\"prompt\": \"\"}", "the prompt is empty"},
    {"{\"input_ids\": []}", "empty"},
    {"{\"input_ids\": 5}", "'input_ids' must be a list of token ids, not a number"},
    {"{\"input_ids\": [1.5]}", "token 1 must be a whole number"},
    {"{\"input_ids\": [1, \"2\"]}", "token 2 must be a whole number, not a string"},
    {"{\"input_ids\": [-1]}", "token 1 is -1"},
    {"{\"input_ids\": [99999999999]}", "token 1 is 99999999999"},
    {"{\"input_ids\": [1, 2], \"completion_mask\": [1]}", "as long as 'input_ids'"},
    {"{\"input_ids\": [1, 2], \"completion_mask\": [1, 2]}", "0 and 1 alone"},
    {"{\"prompt_ids\": [1], \"completion_ids\": []}", "the completion is empty"},
    {"{\"prompt_ids\": [1], \"chosen_ids\": [1]}", "'rejected_ids' is missing"},
    {"{\"prompt_ids\": [1], \"chosen_ids\": [1], \"rejected_ids\": [true]}", "token 1 must be"},
    {"{\"prompt\": \"a\"}\n{\"text\": \"b\"}", ":2: this line has completions"},
    {"{\"text\": \"b\"}\n\n{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}", ":3: this line has pairs"},
};

START_TEST(wrong_lines_are_refused) {
    const struct dataset_options o = options_for(chat);

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct dataset d;
        struct error err;
        ck_assert_msg(load(wrong[i].line, &o, &d, &err) == -1, "accepted: %s", wrong[i].line);
        ck_assert_msg(err.kind == ERROR_INPUT, "%s: %s", wrong[i].line, err.text);
        ck_assert_msg(strstr(err.text, wrong[i].words) != NULL, "%s: %s", wrong[i].line, err.text);
        ck_assert_msg(strncmp(err.text, file, strlen(file)) == 0, "%s", err.text);
        ck_assert_ptr_null(d.rows);
    }
}
END_TEST

START_TEST(kinds_that_do_not_fit_are_refused) {
    struct dataset_options o = options_for(chat);
    struct dataset d;
    struct error err;

    o.kinds = REIN_DATA_PAIRS;
    ck_assert_int_eq(load("{\"prompt\": \"a\", \"choosen\": \"b\"}", &o, &d, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "pairs {prompt, chosen, rejected} needed here, but this line has prompts "
                                           "{prompt}; 'choosen' is not a known column (did you mean 'chosen'?)"));
    o.kinds = REIN_DATA_COMPLETIONS;
    ck_assert_int_eq(load("{\"prompt\": \"a\", \"completion\": \"b\", \"label\": true}", &o, &d, &err), 0);
    ck_assert_uint_eq(d.kind, REIN_DATA_COMPLETIONS);
    dataset_free(&d);
    o.kinds = REIN_DATA_PROMPTS;
    ck_assert_int_eq(load("{\"text\": \"a\"}", &o, &d, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "'prompt' is missing"));
    o = options_for(chat);
    o.chat = NULL;
    ck_assert_int_eq(load("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", &o, &d, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "message lists need a chat template"));
}
END_TEST

/* What a template has no place for is said with the line of the data. */
START_TEST(orders_of_turns_are_refused_with_their_line) {
    static const char fine[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, "
                               "{\"role\": \"assistant\", \"content\": \"b\"}]}\n";
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"b\"}]}",
         "message 2 is from the user, but the assistant is due: the chat template 'mistral' has user and assistant by "
         "turns, the user first"},
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}", "message 1 is from the assistant, but the user"},
        {"{\"messages\": [{\"role\": \"system\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"b\"}]}",
         "message 1 is from the system, for which the chat template 'mistral' has no turn: put its words into the first "
         "user message"},
    };
    struct dataset_options o = options_for(story);

    o.chat = template_find("mistral", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dataset d;
        struct error err;
        char text[512], place[256];
        snprintf(text, sizeof text, "%s%s\n", fine, cases[i].line);
        snprintf(place, sizeof place, "%s:2:", file);
        ck_assert_int_eq(load(text, &o, &d, &err), -1);
        ck_assert_int_eq(err.kind, ERROR_INPUT);
        ck_assert_msg(strncmp(err.text, place, strlen(place)) == 0, "%s", err.text);
        ck_assert_msg(strstr(err.text, cases[i].says) != NULL, "%s", err.text);
    }
}
END_TEST

/* No cut of a line is taken for the line, none does harm. */
START_TEST(every_cut_of_a_line) {
    static const char line[] = "{\"prompt\": [{\"role\": \"user\", \"content\": \"h\\u00e9 \xe6\x9d\xb1\"}], \"chosen\":"
                               "[{\"role\": \"assistant\", \"content\": \"x\"}], \"rejected\": \"y\", \"margin\": 1.5}";
    static const char ids[] = "{\"prompt_ids\": [1, 2, 3], \"chosen_ids\": [4], \"rejected_ids\": [5, 6], \"x\": null}";
    const struct dataset_options o = options_for(chat);

    for (int k = 0; k < 2; k++) {
        const char *text = k ? ids : line;
        for (size_t n = 0; n < strlen(text); n++) {
            struct dataset d;
            struct error err = {0};
            write_file(text, n);
            ck_assert_msg(dataset_load(file, &o, &d, &err) == -1 && err.kind == ERROR_INPUT, "%.*s", (int)n, text);
        }
    }
}
END_TEST

START_TEST(real_data_loads) {
    static const struct {
        const char *name;
        uint32_t kind;
        size_t units;
    } files[] = {
        {"hh_harmless_base_test.conv", REIN_DATA_PAIRS, 2299}, {"selfinstruct_seed_tasks.sft", REIN_DATA_COMPLETIONS, 175},
        {"mtbench_prompts", REIN_DATA_PROMPTS, 80},            {"rt_sentence_polarity", REIN_DATA_COMPLETIONS, 10662},
        {"stories260k_prompts", REIN_DATA_PROMPTS, 1024},
    };
    const char *folder = getenv("REIN_TEST_DATA");
    struct dataset_options o;
    struct tokenizer *t;
    struct error err = {0};
    char path[512];

    if (folder == NULL || *folder == 0) {
        puts("# SKIP real data: REIN_TEST_DATA is not set");
        return;
    }
    snprintf(path, sizeof path, "%s/tokenizers/smollm2", folder);
    ck_assert_msg(tokenizer_load(path, &t, &err) == 0, "%s", err.text);
    o = options_for(t);
    ck_assert_int_eq(template_recognise(t, &o.chat, &err), 0);
    ck_assert_str_eq(template_name(o.chat), "smollm2");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct dataset d;
        snprintf(path, sizeof path, "%s/data/%s.jsonl", folder, files[i].name);
        ck_assert_msg(dataset_load(path, &o, &d, &err) == 0, "%s", err.text);
        ck_assert_uint_eq(d.kind, files[i].kind);
        ck_assert_uint_eq(d.nunits, files[i].units);
        for (size_t r = 0; r < d.nrows && d.kind != REIN_DATA_PROMPTS; r++)
            ck_assert_int_eq(d.rows[r].ids[d.rows[r].length - 1], tokenizer_eos(t));
        dataset_free(&d);
    }
    tokenizer_free(t);
}
END_TEST

int main(void) {
    Suite *s = suite_create("dataset");
    TCase *c = tcase_create("dataset");

    tcase_set_timeout(c, 60);
    tcase_add_unchecked_fixture(c, setup, teardown);
    tcase_add_test(c, pairs_are_taken_apart_for_labels);
    tcase_add_test(c, strings_of_every_shape);
    tcase_add_test(c, bos_once_and_eos_as_wanted);
    tcase_add_test(c, message_lists_are_templated);
    tcase_add_test(c, strings_are_templated_when_asked);
    tcase_add_test(c, orders_of_turns_are_refused_with_their_line);
    tcase_add_test(c, prompts_of_any_kind);
    tcase_add_test(c, token_ids_are_taken_as_they_are);
    tcase_add_test(c, long_rows_are_dropped_or_refused);
    tcase_add_test(c, lines_blank_windows_gzip_and_limit);
    tcase_add_test(c, wrong_lines_are_refused);
    tcase_add_test(c, kinds_that_do_not_fit_are_refused);
    tcase_add_test(c, every_cut_of_a_line);
    tcase_add_test(c, real_data_loads);
    suite_add_tcase(s, c);
    return tap_run(s);
}

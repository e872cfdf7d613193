/* SPDX-License-Identifier: MIT */
#include "text/tokenizer.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "text/added.h"
#include "text/bpe.h"
#include "text/decode.h"
#include "text/fields.h"
#include "text/normalize.h"
#include "text/postprocess.h"
#include "text/pretokenize.h"
#include "text/token_config.h"
#include "text/tokenizer_files.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPARE_IDS = 1 << 16, /* how far ids may run ahead of the number of tokens */
};

struct token {
    const char *text; /* NULL: a hole */
    size_t length;
    size_t bytes, nbytes; /* in tokenizer.bytes */
    bool special;
};

struct tokenizer {
    struct bpe *model;
    struct normalizer *normalizer;
    struct pretokenizer *pretokenizer;
    struct decoder *decoder;
    struct added *added;
    struct ids prefix, suffix;
    struct token *tokens;
    size_t size;
    struct vocab added_ids; /* of added tokens that the model's vocabulary lacks */
    struct buffer bytes;
    struct arena strings;
    struct token_config config;
    int32_t bos, eos, pad;
    struct tokenizer_files files;
    unsigned users;         /* tokenizer_free()s to come */
    struct tokenizer *next; /* of `living` */
};

/* ---- ids ---------------------------------------------------------------- */

int ids_append(struct ids *ids, const int32_t *data, size_t count, struct error *err) {
    void *grown = ids->data;
    size_t need;

    if (!size_add(ids->count, count, &need) || mem_grow(&grown, &ids->capacity, need, sizeof *ids->data) != 0)
        return error_nomem(err, "token ids");
    ids->data = grown;
    if (count > 0)
        memcpy(ids->data + ids->count, data, count * sizeof *data);
    ids->count = need;
    return 0;
}

int ids_add(struct ids *ids, int32_t id, struct error *err) {
    return ids_append(ids, &id, 1, err);
}

void ids_free(struct ids *ids) {
    free(ids->data);
    *ids = (struct ids){0};
}

/* ---- loading ------------------------------------------------------------ */

static int put_token(struct tokenizer *t, int32_t id, const char *text, size_t length, struct error *err) {
    struct token *k = &t->tokens[id];

    if (k->text != NULL && (k->length != length || memcmp(k->text, text, length) != 0))
        return error_input(err, "the tokens '%.40s' and '%.40s' have the same id %d", k->text, text, id);
    k->text = text;
    k->length = length;
    return 0;
}

/* The table from ids to texts; every id is used once. */
static int fill_tokens(struct tokenizer *t, struct error *err) {
    const struct vocab *v = bpe_vocab(t->model);
    size_t nadded;
    const struct added_token *added = added_list(t->added, &nadded);
    int32_t largest = 0;

    for (size_t i = 0; i <= v->mask; i++)
        if (v->slots[i].text != NULL && v->slots[i].id > largest)
            largest = v->slots[i].id;
    for (size_t i = 0; i < nadded; i++)
        if (added[i].id > largest)
            largest = added[i].id;
    t->size = (size_t)largest + 1;
    if (t->size > 4 * (v->count + nadded) + SPARE_IDS)
        return error_input(err, "the largest id is %d, with only %zu tokens", largest, v->count + nadded);
    t->tokens = mem_zeros(t->size, sizeof *t->tokens);
    if (t->tokens == NULL)
        return error_nomem(err, "a tokenizer");
    for (size_t i = 0; i <= v->mask; i++)
        if (v->slots[i].text != NULL && put_token(t, v->slots[i].id, v->slots[i].text, v->slots[i].length, err) != 0)
            return -1;
    if (vocab_init(&t->added_ids, nadded, err) != 0)
        return -1;
    for (size_t i = 0; i < nadded; i++) {
        const struct added_token *a = &added[i];
        if (put_token(t, a->id, a->text, a->length, err) != 0)
            return -1;
        t->tokens[a->id].special |= a->special;
        if (vocab_put(&t->added_ids, a->text, a->length, a->id, err) == 1 &&
            vocab_get(&t->added_ids, a->text, a->length) != a->id)
            return error_input(err, "the added token '%.40s' has two ids", a->text);
    }
    return 0;
}

static int fill_bytes(struct tokenizer *t, struct error *err) {
    for (size_t i = 0; i < t->size; i++) {
        struct token *k = &t->tokens[i];
        if (k->text == NULL)
            continue;
        k->bytes = t->bytes.length;
        if (decoder_token(t->decoder, k->text, k->length, &t->bytes, err) != 0)
            return -1;
        k->nbytes = t->bytes.length - k->bytes;
    }
    return 0;
}

static int build(const json_t *root, struct tokenizer *t, struct error *err) {
    if (!json_is_object(root))
        return error_input(err, "must be an object, not %s", field_kind(root));
    if (bpe_parse(json_object_get(root, "model"), &t->strings, &t->model, err) != 0 ||
        normalizer_parse(json_object_get(root, "normalizer"), &t->normalizer, err) != 0 ||
        pretokenizer_parse(json_object_get(root, "pre_tokenizer"), &t->pretokenizer, err) != 0 ||
        decoder_parse(json_object_get(root, "decoder"), &t->decoder, err) != 0 ||
        added_parse(json_object_get(root, "added_tokens"), bpe_vocab(t->model), t->normalizer, &t->strings, &t->added,
                    err) != 0 ||
        fill_tokens(t, err) != 0 || fill_bytes(t, err) != 0)
        return -1;
    return postprocess_parse(json_object_get(root, "post_processor"), t->size, &t->prefix, &t->suffix, err);
}

/* The id of a token that the configuration names; a number of generation_config.json when it names none. */
static int named_id(const struct tokenizer *t, const char *key, const char *text, int32_t number, int32_t *out,
                    struct error *err) {
    *out = text == NULL ? number : tokenizer_id(t, text);
    if (text != NULL && *out < 0)
        return error_input(err, "the %s '%.40s' is not in the vocabulary", key, text);
    if (*out >= 0 && (size_t)*out >= t->size)
        return error_input(err, "the %s's id %d is not in the vocabulary", key, *out);
    return 0;
}

static int resolve(struct tokenizer *t, struct error *err) {
    if (named_id(t, "bos_token", t->config.bos, t->config.bos_id, &t->bos, err) != 0 ||
        named_id(t, "eos_token", t->config.eos, t->config.eos_id, &t->eos, err) != 0)
        return -1;
    /* transformers gives an unknown pad token an id of its own; nothing here needs one */
    if (named_id(t, "pad_token", t->config.pad, t->config.pad_id, &t->pad, NULL) != 0)
        t->pad = -1;
    return 0;
}

static int parse_tokenizer(struct tokenizer *t, struct error *err) {
    const char *name = t->files.path[FILE_TOKENIZER];
    json_error_t why;
    json_t *root =
        json_loadb(t->files.text[FILE_TOKENIZER], t->files.length[FILE_TOKENIZER], JSON_REJECT_DUPLICATES, &why);
    int rc;

    if (root == NULL)
        return error_at(err, name, (size_t)(why.line > 0 ? why.line : 0), (size_t)(why.column > 0 ? why.column : 0),
                        "%s", why.text);
    rc = build(root, t, err);
    json_decref(root);
    return rc != 0 ? error_prefix(err, "%s", name) : 0;
}

/* The files beside tokenizer.json. chat_template.jinja replaces what tokenizer_config.json says, as in transformers. */
static int parse_settings(struct tokenizer *t, struct error *err) {
    const struct tokenizer_files *f = &t->files;

    for (int i = FILE_CONFIG; i <= FILE_SPECIAL; i++)
        if (f->text[i] != NULL && token_config_read(&t->config, f->text[i], f->length[i], f->path[i], err) != 0)
            return -1;
    if (f->text[FILE_GENERATION] != NULL &&
        token_config_generation(&t->config, f->text[FILE_GENERATION], f->length[FILE_GENERATION],
                                f->path[FILE_GENERATION], err) != 0)
        return -1;
    if (f->text[FILE_TEMPLATE] == NULL)
        return 0;
    free(t->config.chat_template);
    t->config.chat_template = mem_strndup(f->text[FILE_TEMPLATE], f->length[FILE_TEMPLATE]);
    return t->config.chat_template == NULL ? error_nomem(err, "a chat template") : 0;
}

/* The models of a run mostly have one tokenizer, which takes longer to read than all else that is known about them:
 * what was made of the same files is shared. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tokenizer *living;

static struct tokenizer *find_living(const struct tokenizer_files *files) {
    struct tokenizer *t;

    pthread_mutex_lock(&lock);
    for (t = living; t != NULL && !tokenizer_files_same(&t->files, files); t = t->next)
        ;
    if (t != NULL)
        t->users++;
    pthread_mutex_unlock(&lock);
    return t;
}

static void put_living(struct tokenizer *t) {
    pthread_mutex_lock(&lock);
    t->users = 1;
    t->next = living;
    living = t;
    pthread_mutex_unlock(&lock);
}

/* True when nobody else has it. */
static bool leave_living(struct tokenizer *t) {
    struct tokenizer **at = &living;
    bool last;

    pthread_mutex_lock(&lock);
    last = t->users == 0 || --t->users == 0; /* 0: never finished */
    while (*at != NULL && *at != t)
        at = &(*at)->next;
    if (last && *at != NULL)
        *at = t->next;
    pthread_mutex_unlock(&lock);
    return last;
}

/* Takes the files over. */
static int tokenizer_make(struct tokenizer_files *files, const char *name, struct tokenizer **out, struct error *err) {
    struct tokenizer *t = find_living(files);

    *out = t;
    if (t != NULL) {
        tokenizer_files_free(files);
        return 0;
    }
    t = mem_zeros(1, sizeof *t);
    if (t == NULL) {
        tokenizer_files_free(files);
        return error_nomem(err, "a tokenizer");
    }
    t->files = *files;
    token_config_init(&t->config);
    t->bos = t->eos = t->pad = -1;
    if (parse_tokenizer(t, err) != 0 || parse_settings(t, err) != 0)
        goto fail;
    if (resolve(t, err) != 0) {
        error_prefix(err, "%s", name);
        goto fail;
    }
    put_living(t);
    *out = t;
    return 0;
fail:
    tokenizer_free(t);
    return -1;
}

int tokenizer_parse(const char *json, size_t length, const char *config, size_t config_length, const char *name,
                    struct tokenizer **out, struct error *err) {
    struct tokenizer_files files = {0};

    *out = NULL;
    if (tokenizer_files_copy(json, length, config, config_length, name, &files, err) == 0)
        return tokenizer_make(&files, name, out, err);
    tokenizer_files_free(&files);
    return -1;
}

int tokenizer_load(const char *folder, struct tokenizer **out, struct error *err) {
    struct tokenizer_files files = {0};

    *out = NULL;
    if (tokenizer_files_read(folder, &files, err) == 0)
        return tokenizer_make(&files, folder, out, err);
    tokenizer_files_free(&files);
    return -1;
}

void tokenizer_free(struct tokenizer *t) {
    if (t == NULL || !leave_living(t))
        return;
    bpe_free(t->model);
    normalizer_free(t->normalizer);
    pretokenizer_free(t->pretokenizer);
    decoder_free(t->decoder);
    added_free(t->added);
    ids_free(&t->prefix);
    ids_free(&t->suffix);
    free(t->tokens);
    vocab_free(&t->added_ids);
    buffer_free(&t->bytes);
    arena_free(&t->strings);
    token_config_free(&t->config);
    tokenizer_files_free(&t->files);
    free(t);
}

/* ---- text to ids -------------------------------------------------------- */

/* Added tokens of the text as it came, then of its normal form, then the pre-tokenizer. */
static int cut(const struct tokenizer *t, const char *text, size_t length, const struct added_rules *rules,
               struct pieces *out, struct error *err) {
    struct pieces raw = {0};
    struct buffer form = {0};
    int rc = added_split(t->added, false, rules, text, length, true, &raw, err);

    for (size_t i = 0; rc == 0 && i < raw.count; i++) {
        const struct piece *p = &raw.items[i];
        struct added_rules inner = {.special = rules->special};
        if (p->id >= 0) {
            rc = pieces_copy(out, piece_text(&raw, p), p->length, p->id, p->first, err);
            continue;
        }
        /* the raw pieces follow one another as in the text; a normal form has places of its own */
        if (t->normalizer == NULL)
            inner = (struct added_rules){rules->special, rules->ordinary, rules->count, p->start};
        else if (added_ordinary(rules, p->start, p->start + p->length))
            inner.special = false;
        buffer_clear(&form);
        rc = normalizer_run(t->normalizer, piece_text(&raw, p), p->length, &form, err);
        if (rc == 0 && form.length > 0)
            rc = added_split(t->added, true, &inner, form.data, form.length, p->first, out, err);
    }
    pieces_free(&raw);
    buffer_free(&form);
    return rc == 0 ? pretokenizer_run(t->pretokenizer, out, err) : rc;
}

static int encode(const struct tokenizer *t, const char *text, size_t length, const struct added_rules *rules,
                  struct ids *out, struct error *err) {
    struct pieces pieces = {0};
    struct bpe_scratch scratch = {0};
    int rc = cut(t, text, length, rules, &pieces, err);

    for (size_t i = 0; rc == 0 && i < pieces.count; i++) {
        const struct piece *p = &pieces.items[i];
        rc = p->id >= 0 ? ids_add(out, p->id, err)
                        : bpe_encode(t->model, &scratch, piece_text(&pieces, p), p->length, out, err);
    }
    bpe_scratch_free(&scratch);
    pieces_free(&pieces);
    return rc;
}

int tokenizer_encode_ranges(const struct tokenizer *t, const char *text, size_t length, unsigned flags,
                            const struct text_range *ordinary, size_t count, struct ids *out, struct error *err) {
    const struct added_rules rules = {(flags & TOKENIZE_SPECIAL) != 0, ordinary, count, 0};
    int rc = 0;

    if (utf8_valid_prefix(text, length) != length)
        return error_input(err, "a text is not well-formed UTF-8");
    if (flags & TOKENIZE_BOS)
        rc = ids_append(out, t->prefix.data, t->prefix.count, err);
    if (rc == 0)
        rc = encode(t, text, length, &rules, out, err);
    if (rc == 0 && (flags & TOKENIZE_BOS))
        rc = ids_append(out, t->suffix.data, t->suffix.count, err);
    return rc;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t length, unsigned flags, struct ids *out,
                     struct error *err) {
    struct buffer repaired = {0};
    int rc;

    if (utf8_valid_prefix(text, length) == length)
        return tokenizer_encode_ranges(t, text, length, flags, NULL, 0, out, err);
    text_repair(text, length, &repaired);
    rc = repaired.failed ? error_nomem(err, "a text")
                         : tokenizer_encode_ranges(t, repaired.data, repaired.length, flags, NULL, 0, out, err);
    buffer_free(&repaired);
    return rc;
}

void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count, bool skip_special,
                      struct buffer *out) {
    struct pieces tokens = {0};
    struct error err = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct token *k = ids[i] >= 0 && (size_t)ids[i] < t->size ? &t->tokens[ids[i]] : NULL;
        if (k != NULL && k->text != NULL && !(skip_special && k->special))
            rc = pieces_copy(&tokens, k->text, k->length, -1, false, &err);
    }
    if (rc == 0)
        rc = decoder_run(t->decoder, &tokens, out, &err);
    if (rc != 0)
        out->failed = true;
    pieces_free(&tokens);
}

/* ---- questions ---------------------------------------------------------- */

static const struct token *find_token(const struct tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->size && t->tokens[id].text != NULL ? &t->tokens[id] : NULL;
}

const char *tokenizer_token_bytes(const struct tokenizer *t, int32_t id, size_t *length) {
    const struct token *k = find_token(t, id);

    *length = k == NULL ? 0 : k->nbytes;
    return k == NULL || t->bytes.data == NULL ? "" : t->bytes.data + k->bytes;
}

const char *tokenizer_token_text(const struct tokenizer *t, int32_t id) {
    const struct token *k = find_token(t, id);

    return k == NULL ? NULL : k->text;
}

size_t tokenizer_size(const struct tokenizer *t) {
    return t->size;
}

int32_t tokenizer_id(const struct tokenizer *t, const char *token) {
    const size_t length = strlen(token);
    const int32_t id = vocab_get(&t->added_ids, token, length);

    return id >= 0 ? id : vocab_get(bpe_vocab(t->model), token, length);
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id) {
    const struct token *k = find_token(t, id);

    return k != NULL && k->special;
}

int32_t tokenizer_bos(const struct tokenizer *t) {
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t) {
    return t->eos;
}

int32_t tokenizer_pad(const struct tokenizer *t) {
    return t->pad;
}

size_t tokenizer_prefix(const struct tokenizer *t, const int32_t **ids) {
    *ids = t->prefix.data;
    return t->prefix.count;
}

const char *tokenizer_json(const struct tokenizer *t, size_t *length) {
    *length = t->files.length[FILE_TOKENIZER];
    return t->files.text[FILE_TOKENIZER];
}

bool tokenizer_same(const struct tokenizer *a, const struct tokenizer *b) {
    size_t na, nb;
    const char *ta, *tb;

    if (!a || !b)
        return a == b;
    ta = tokenizer_json(a, &na);
    tb = tokenizer_json(b, &nb);
    return na == nb && memcmp(ta, tb, na) == 0;
}

const char *tokenizer_config_json(const struct tokenizer *t, size_t *length) {
    *length = t->files.length[FILE_CONFIG];
    return t->files.text[FILE_CONFIG];
}

const char *tokenizer_chat_template(const struct tokenizer *t) {
    return t->config.chat_template;
}

/* SPDX-License-Identifier: MIT
 * Chat templates spelled out: they say what the named ones say, mark the same tokens, and mistakes are refused.
 */
#include "base/file.h"
#include "tap.h"
#include "text/template_yaml.h"

#include <stdio.h>
#include <string.h>

#define GOLDEN SOURCE_DIR "/tests/golden/"

static json_t *head; /* of texts.jsonl: added tokens and conversations */

static void load_head(void) {
    char *text;
    size_t n;
    struct error err = {0};

    text = file_read(GOLDEN "templates/texts.jsonl", 64 << 20, &n, &err);
    ck_assert_msg(text != NULL, "%s", err.text);
    head = json_loadb(text, (size_t)(strchr(text, '\n') - text), 0, NULL);
    ck_assert_ptr_nonnull(head);
    free(text);
}

static void free_head(void) {
    json_decref(head);
}

static struct tokenizer *make_tokenizer(void) {
    static const char config[] = "{\"bos_token\": \"<|begin_of_text|>\", \"eos_token\": \"<|end|>\"}";
    json_t *root = json_load_file(GOLDEN "tokenizers/bytes.json", 0, NULL);
    struct tokenizer *t = NULL;
    struct error err = {0};
    char *text;

    json_object_set(root, "added_tokens", json_object_get(head, "added_tokens"));
    text = json_dumps(root, JSON_COMPACT);
    ck_assert_msg(tokenizer_parse(text, strlen(text), config, strlen(config), "bytes", &t, &err) == 0, "%s", err.text);
    free(text);
    json_decref(root);
    return t;
}

/* The template in YAML text, of which the document keeps everything. */
static int read_yaml(const char *text, struct document *doc, const struct chat_template **out, struct error *err) {
    struct error why = {0};

    ck_assert_msg(yaml_parse(text, strlen(text), "t.yaml", doc, &why) == 0, "%s", why.text);
    return template_read(doc->root, &doc->arena, out, err);
}

static const struct {
    const char *name, *yaml;
} spelled[] = {
    {"chatml", "system: \"<|im_start|>system\\n{content}<|im_end|>\\n\"\n"
               "user: \"<|im_start|>user\\n{content}<|im_end|>\\n\"\n"
               "assistant: \"<|im_start|>assistant\\n{content}<|im_end|>\\n\"\n"},
    {"smollm2", "system: \"<|im_start|>system\\n{content}<|im_end|>\\n\"\n"
                "user: \"<|im_start|>user\\n{content}<|im_end|>\\n\"\n"
                "assistant: \"<|im_start|>assistant\\n{content}<|im_end|>\\n\"\n"
                "default_system: You are a helpful AI assistant named SmolLM, trained by Hugging Face\nbos: never\n"},
    {"zephyr", "system: \"<|system|>\\n{content}{eos}\\n\"\nuser: \"<|user|>\\n{content}{eos}\\n\"\n"
               "assistant: \"<|assistant|>\\n{content}{eos}\\n\"\n"},
    {"llama3", "system: \"<|start_header_id|>system<|end_header_id|>\\n\\n{content}<|eot_id|>\"\n"
               "user: \"<|start_header_id|>user<|end_header_id|>\\n\\n{content}<|eot_id|>\"\n"
               "assistant: \"<|start_header_id|>assistant<|end_header_id|>\\n\\n{content}<|eot_id|>\"\n"
               "bos: always\ntrim: true\n"},
    {"alpaca", "default_system: Below is an instruction that describes a task. Write a response that appropriately "
               "completes the request.\nsystem: \"{content}\\n\\n\"\nuser: \"### Instruction:\\n{content}\\n\\n\"\n"
               "assistant: \"### Response:\\n{content}{eos}\\n\\n\"\ngeneration: \"### Response:\\n\"\n"},
    {"plain", "system: \"{content}\\n\"\nuser: \"{content}\\n\"\nassistant: \"{content}{eos}\"\n"},
};

START_TEST(spelled_out_equals_named) {
    const struct chat_template *named = template_find(spelled[_i].name, NULL), *own = NULL;
    struct tokenizer *t = make_tokenizer();
    struct document doc = {0};
    struct error err = {0};
    const json_t *conversations = json_object_get(head, "conversations");

    ck_assert_msg(read_yaml(spelled[_i].yaml, &doc, &own, &err) == 0, "%s", err.text);
    ck_assert_int_eq(template_end_of_turn(own, t), template_end_of_turn(named, t));
    ck_assert_uint_ge(json_array_size(conversations), 20);
    for (size_t i = 0; i < 2 * json_array_size(conversations); i++) {
        const json_t *messages = json_array_get(conversations, i / 2);
        struct buffer text[2] = {0}, mask[2] = {0};
        struct ids ids[2] = {0};
        for (int k = 0; k < 2; k++) {
            const struct chat_template *c = k ? own : named;
            ck_assert_int_eq(template_text(c, t, messages, i % 2, &text[k], &err), 0);
            ck_assert_int_eq(template_render(c, t, messages, i % 2, &ids[k], &mask[k], &err), 0);
        }
        ck_assert_str_eq(text[0].data, text[1].data);
        ck_assert_uint_eq(ids[0].count, ids[1].count);
        ck_assert_mem_eq(ids[0].data, ids[1].data, ids[0].count * sizeof(*ids[0].data));
        ck_assert_mem_eq(mask[0].data, mask[1].data, ids[0].count);
        for (int k = 0; k < 2; k++) {
            buffer_free(&text[k]);
            buffer_free(&mask[k]);
            ids_free(&ids[k]);
        }
    }
    yaml_free(&doc);
    tokenizer_free(t);
}
END_TEST

/* Braces, an answer without an end, no system's turn. */
START_TEST(corners) {
    struct tokenizer *t = make_tokenizer();
    json_t *messages = json_pack("[{s:s,s:s},{s:s,s:s}]", "role", "user", "content", "{content}", "role", "assistant",
                                 "content", "ok");
    json_t *system = json_pack("[{s:s,s:s}]", "role", "system", "content", "x");
    const struct chat_template *c = NULL;
    struct document doc = {0};
    struct buffer text = {0}, mask = {0};
    struct error err = {0};
    struct ids ids = {0};
    size_t written = 0;

    ck_assert_int_eq(read_yaml("user: \"{{u}} {content} \"\nassistant: \"a: {content} \\n\"\ngeneration: \"go{{ \"\n",
                               &doc, &c, &err),
                     0);
    ck_assert_int_eq(template_text(c, t, messages, true, &text, &err), 0);
    ck_assert_str_eq(text.data, "{u} {content} a: ok \ngo{ ");
    ck_assert_int_eq(template_end_of_turn(c, t), -1);
    ck_assert_int_eq(template_render(c, t, messages, true, &ids, &mask, &err), 0);
    for (size_t i = 0; i < ids.count; i++)
        written += mask.data[i];
    ck_assert_uint_ge(written, 1);
    ck_assert_uint_le(written, 2); /* "ok" and nothing else */
    ck_assert_int_eq(template_render(c, t, system, true, &ids, NULL, &err), -1);
    ck_assert_str_eq(err.text,
                     "message 1 is from the system, for which the chat template 'spelled out' has no turn: put "
                     "its words into the first user message");
    buffer_free(&text);
    buffer_free(&mask);
    ids_free(&ids);
    json_decref(messages);
    json_decref(system);
    yaml_free(&doc);
    tokenizer_free(t);
}
END_TEST

#define TURNS "user: \"u {content}\"\nassistant: \"a {content}\"\n"
static const struct {
    const char *yaml, *says;
} wrong[] = {
    {"user: \"{content}\"\n", "t.yaml:1:1: template needs the option 'assistant'"},
    {TURNS "asistant: x\n", "t.yaml:3:1: template has no option 'asistant' (did you mean 'assistant'?)"},
    {"user: hello\nassistant: \"{content}\"\n",
     "t.yaml:1:7: template.user: needs {content}, once, where the message goes"},
    {"user: \"{content}\"\nassistant: \"{content}{content}\"\n",
     "t.yaml:2:12: template.assistant: has {content} twice"},
    {"user: \"{contnet}\"\nassistant: \"{content}\"\n",
     "t.yaml:1:7: template.user: {contnet} is neither {content} nor {eos} (did you mean 'content'?)"},
    {"user: \"{content\"\nassistant: \"{content}\"\n", "t.yaml:1:7: template.user: has a brace without its other half"},
    {"user: \"{content}}\"\nassistant: \"{content}\"\n",
     "t.yaml:1:7: template.user: has a brace without its other half"},
    {"user: \"{content} {\"\nassistant: \"{content}\"\n",
     "t.yaml:1:7: template.user: has a brace without its other half"},
    {"user: \"{}{content}\"\nassistant: \"{content}\"\n",
     "t.yaml:1:7: template.user: {} is neither {content} nor {eos}"},
    {TURNS "generation: \"{content}\"\n", "t.yaml:3:13: template.generation: must not have {content}"},
    {TURNS "default_system: x\n", "t.yaml:3:17: template.default_system: needs 'system', the turn that it stands in"},
    {TURNS "bos: yes\n", "t.yaml:3:6: template.bos: "},
    {TURNS "system: [a]\n", "t.yaml:3:9: template.system: expected a string"},
    {TURNS "system: \"\\x01{content}\"\n", "t.yaml:3:9: template.system: holds a control character"},
};

START_TEST(mistakes_have_a_place) {
    const struct chat_template *c = NULL;
    struct document doc = {0};
    struct error err = {0};

    ck_assert_msg(read_yaml(wrong[_i].yaml, &doc, &c, &err) == -1, "accepted: %s", wrong[_i].yaml);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_msg(strncmp(err.text, wrong[_i].says, strlen(wrong[_i].says)) == 0, "'%s', not '%s'", err.text,
                  wrong[_i].says);
    yaml_free(&doc);
}
END_TEST

int main(void) {
    Suite *s = suite_create("template_yaml");
    TCase *c = tcase_create("template_yaml");

    tcase_add_unchecked_fixture(c, load_head, free_head);
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, spelled_out_equals_named, 0, (int)(sizeof(spelled) / sizeof(spelled[0])));
    tcase_add_test(c, corners);
    tcase_add_loop_test(c, mistakes_have_a_place, 0, (int)(sizeof(wrong) / sizeof(wrong[0])));
    suite_add_tcase(s, c);
    return tap_run(s);
}

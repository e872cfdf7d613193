/* Writes a GGUF file of a tiny Llama, for tests of commands.   usage: make_gguf OUT.gguf [Q4_K]
 * SPDX-License-Identifier: MIT
 */
#include "base/file.h"
#include "gguf_build.h"

#include <stdio.h>
#include <stdlib.h>

enum { BYTES = 256, EXTRA = 4, HIDDEN = 32, MLP = 64, LAYERS = 2, KV = 16 };

/* GPT-2's printable stand-in of a byte */
static void byte_text(unsigned byte, char out[4]) {
    unsigned code = byte, gone = 0;

    for (unsigned b = 0; b < 256; b++) {
        const int printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte && !printable)
            code = 256 + gone;
        gone += !printable;
    }
    if (code < 128) {
        out[0] = (char)code;
        out[1] = '\0';
    } else {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 63));
        out[2] = '\0';
    }
}

static void add_tokenizer(struct gguf_build *g) {
    struct buffer *b;
    char text[4];

    build_text(g, "tokenizer.ggml.model", "gpt2");
    build_text(g, "tokenizer.ggml.pre", "smollm");
    b = build_array(g, "tokenizer.ggml.tokens", GGUF_STRING, BYTES + EXTRA);
    put_text(b, "<|endoftext|>");
    put_text(b, "<|im_end|>");
    for (unsigned i = 0; i < BYTES; i++) {
        byte_text(i, text);
        put_text(b, text);
    }
    put_text(b, "th");
    put_text(b, "the");
    b = build_array(g, "tokenizer.ggml.token_type", GGUF_I32, BYTES + EXTRA);
    for (unsigned i = 0; i < BYTES + EXTRA; i++)
        put_u32(b, i < 2 ? 3 : 1);
    b = build_array(g, "tokenizer.ggml.merges", GGUF_STRING, 2);
    put_text(b, "t h");
    put_text(b, "th e");
    build_u32(g, "tokenizer.ggml.bos_token_id", 0);
    build_u32(g, "tokenizer.ggml.eos_token_id", 1);
}

/* Q8_0 blocks, or F32 for vectors; values from a generator that is the same everywhere. */
static void add(struct gguf_build *g, const char *name, uint64_t in, uint64_t rows) {
    static uint32_t random = 7;
    const uint64_t ne[2] = {in, rows};
    struct buffer b = {0};

    for (uint64_t i = 0; i < in * rows; i++) {
        random = random * 1664525u + 1013904223u;
        if (rows == 1) {
            put_f32(&b, 1.0f + (float)(random >> 24) / 1024.0f);
        } else {
            if (i % 32 == 0)
                buffer_add(&b, "\x00\x14", 2); /* f16 2^-10 */
            buffer_byte(&b, (unsigned char)(random >> 24));
        }
    }
    build_tensor(g, name, rows > 1 ? 2 : 1, ne, rows > 1 ? 8 : 0, g->data.length);
    build_data(g, b.data, b.length);
    buffer_free(&b);
}

static void add_layer(struct gguf_build *g, int layer) {
    static const struct {
        const char *name;
        uint64_t in, rows;
    } parts[] = {{"attn_norm", HIDDEN, 1}, {"attn_q", HIDDEN, HIDDEN},  {"attn_k", HIDDEN, KV},
                 {"attn_v", HIDDEN, KV},   {"attn_output", HIDDEN, HIDDEN}, {"ffn_norm", HIDDEN, 1},
                 {"ffn_gate", HIDDEN, MLP}, {"ffn_up", HIDDEN, MLP},    {"ffn_down", MLP, HIDDEN}};
    char name[64];

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        snprintf(name, sizeof(name), "blk.%d.%s.weight", layer, parts[i].name);
        add(g, name, parts[i].in, parts[i].rows);
    }
}

int main(int argc, char **argv) {
    struct gguf_build g = {0};
    const uint64_t ne[1] = {256};
    unsigned char *file;
    char zeros[144] = {0};
    size_t length;
    int rc;

    if (argc < 2)
        return 2;
    build_text(&g, "general.architecture", "llama");
    build_u32(&g, "llama.embedding_length", HIDDEN);
    build_u32(&g, "llama.block_count", LAYERS);
    build_u32(&g, "llama.feed_forward_length", MLP);
    build_u32(&g, "llama.context_length", 128);
    build_u32(&g, "llama.attention.head_count", 4);
    build_u32(&g, "llama.attention.head_count_kv", 2);
    build_f32(&g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    add_tokenizer(&g);
    build_text(&g, "tokenizer.chat_template", "{{ messages }}");
    add(&g, "token_embd.weight", HIDDEN, BYTES + EXTRA);
    add(&g, "output_norm.weight", HIDDEN, 1);
    for (int i = 0; i < LAYERS; i++)
        add_layer(&g, i);
    if (argc > 2) {
        build_tensor(&g, "blk.0.attn_q.bias", 1, ne, 12, g.data.length);
        build_data(&g, zeros, sizeof(zeros));
    }
    file = build_finish(&g, &length);
    rc = file ? file_write(argv[1], file, length, NULL) : -1;
    free(file);
    return rc ? 1 : 0;
}

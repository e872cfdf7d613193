/* SPDX-License-Identifier: MIT */
#include "plugin/params.h"

#include <string.h>

static const char *type_name(const struct rein_param *row) {
    static const char *const names[] = {"", "bool", "integer", "real", "string", "choice", "model", "column"};

    return names[(row->type & ~REIN_PARAM_LIST) & 7u];
}

static bool is_number(const struct rein_param *row) {
    const uint32_t type = row->type & ~REIN_PARAM_LIST;

    return type == REIN_PARAM_INT || type == REIN_PARAM_REAL;
}

/* What an option that is not given holds, spelled as in YAML; NULL: nothing. */
static const char *default_text(const struct rein_param *row) {
    if (row->dflt != NULL || (row->flags & REIN_PARAM_REQUIRED))
        return row->dflt;
    if (row->type & REIN_PARAM_LIST)
        return "[]";
    switch (row->type) {
    case REIN_PARAM_BOOL:
        return "false";
    case REIN_PARAM_CHOICE:
        return row->choices[0];
    default:
        return NULL; /* a number without a default is 0 to the plugin and "not given" to people */
    }
}

/* "real in [0, 1], nats", "one of a, b", "list of model" */
static void describe(const struct rein_param *row, struct buffer *out) {
    char range[96];

    if (row->type & REIN_PARAM_LIST)
        buffer_text(out, "list of ");
    buffer_text(out, type_name(row));
    if (row->type == REIN_PARAM_CHOICE || row->type == (REIN_PARAM_CHOICE | REIN_PARAM_LIST))
        for (size_t i = 0; row->choices[i] != NULL; i++)
            buffer_printf(out, "%s%s", i ? ", " : " of ", row->choices[i]);
    if (*params_range(row, range, sizeof(range)) != '\0')
        buffer_printf(out, " %s", strncmp(range, "lie ", 4) == 0 ? range + 4 : range + 3);
    if (row->unit != NULL)
        buffer_printf(out, ", %s", row->unit);
}

/* The documentation, one line after another. */
static void doc_lines(const char *doc, const char *before, int indent, struct buffer *out) {
    while (*doc) {
        const size_t length = strcspn(doc, "\n");
        buffer_printf(out, "%*s%s%.*s\n", indent, "", before, (int)length, doc);
        doc += length + (doc[length] == '\n');
    }
}

static void each(const struct params *p, void (*one)(const struct rein_param *, int, struct buffer *), int indent,
                 struct buffer *out) {
    const struct rein_param *row;

    for (uint32_t advanced = 0; advanced < 2; advanced++)
        for (size_t i = 0; (row = params_row(p, i)) != NULL; i++)
            if (((row->flags & REIN_PARAM_ADVANCED) != 0) == (advanced != 0))
                one(row, indent, out);
}

static void print_row(const struct rein_param *row, int indent, struct buffer *out) {
    const char *value = default_text(row);

    buffer_printf(out, "%*s%s%s%s (", indent, "", row->name, value ? " = " : "", value ? value : "");
    describe(row, out);
    buffer_printf(out, "%s%s)\n", row->flags & REIN_PARAM_REQUIRED ? ", required" : "",
                  row->flags & REIN_PARAM_DEPRECATED ? ", deprecated" : "");
    doc_lines(row->doc, "", indent + 4, out);
}

void params_print(const struct params *p, struct buffer *out) {
    each(p, print_row, 2, out);
}

static void schema_row(const struct rein_param *row, int indent, struct buffer *out) {
    const char *value = default_text(row);

    if (row->flags & REIN_PARAM_DEPRECATED)
        return;
    doc_lines(row->doc, "# ", indent, out);
    buffer_printf(out, "%*s# ", indent, "");
    describe(row, out);
    if (row->flags & REIN_PARAM_REQUIRED)
        buffer_printf(out, "; required\n%*s%s:\n", indent, "", row->name);
    else if (value == NULL)
        buffer_printf(out, "; not set by default\n%*s# %s:\n", indent, "", row->name);
    else
        buffer_printf(out, "\n%*s%s: %s\n", indent, "", row->name, value);
}

void params_schema(const struct params *p, int indent, struct buffer *out) {
    each(p, schema_row, indent, out);
}

static void json_value(const struct rein_param *row, const struct node *n, struct buffer *out) {
    double real = 0;
    bool truth = false;

    if (n->type == NODE_SEQUENCE) {
        for (size_t i = 0; i < n->count; i++) {
            buffer_text(out, i ? ", " : "[");
            json_value(row, n->items[i], out);
        }
        buffer_text(out, n->count ? "]" : "[]");
    } else if (is_number(row) && node_read_real(n, &real) == NULL) {
        buffer_printf(out, "%.17g", real);
    } else if ((row->type & ~REIN_PARAM_LIST) == REIN_PARAM_BOOL && node_read_bool(n, &truth) == NULL) {
        buffer_text(out, truth ? "true" : "false");
    } else if (n->type == NODE_SCALAR) {
        buffer_json_string(out, n->text, strlen(n->text));
    } else {
        buffer_text(out, "null");
    }
}

static void json_default(const struct rein_param *row, struct buffer *out) {
    const char *text = default_text(row);
    struct arena arena = {0};
    const struct node *n = text ? yaml_value(&arena, text, "default", NULL) : NULL;

    if (n != NULL)
        json_value(row, n, out);
    else
        buffer_text(out, "null");
    arena_free(&arena);
}

static void json_text(const char *key, const char *text, struct buffer *out) {
    if (text == NULL)
        return;
    buffer_printf(out, ", \"%s\": ", key);
    buffer_json_string(out, text, strlen(text));
}

static void json_row(const struct rein_param *row, int indent, struct buffer *out) {
    (void)indent;
    buffer_text(out, out->data && out->data[out->length - 1] != '[' ? ", {" : "{");
    buffer_printf(out, "\"name\": \"%s\", \"type\": \"%s\", \"list\": %s, \"default\": ", row->name, type_name(row),
                  row->type & REIN_PARAM_LIST ? "true" : "false");
    json_default(row, out);
    if (is_number(row) && row->min <= row->max) {
        if (row->min > -1e18)
            buffer_printf(out, ", \"min\": %.17g", row->min);
        if (row->max < 1e18)
            buffer_printf(out, ", \"max\": %.17g", row->max);
    }
    if ((row->type & ~REIN_PARAM_LIST) == REIN_PARAM_CHOICE) {
        buffer_text(out, ", \"choices\": [");
        for (size_t i = 0; row->choices[i] != NULL; i++) {
            buffer_text(out, i ? ", " : "");
            buffer_json_string(out, row->choices[i], strlen(row->choices[i]));
        }
        buffer_text(out, "]");
    }
    json_text("unit", row->unit, out);
    buffer_printf(out, ", \"required\": %s, \"advanced\": %s, \"deprecated\": %s",
                  row->flags & REIN_PARAM_REQUIRED ? "true" : "false",
                  row->flags & REIN_PARAM_ADVANCED ? "true" : "false",
                  row->flags & REIN_PARAM_DEPRECATED ? "true" : "false");
    json_text("doc", row->doc, out);
    buffer_text(out, "}");
}

void params_json(const struct params *p, struct buffer *out) {
    buffer_text(out, "[");
    each(p, json_row, 0, out);
    buffer_text(out, "]");
}

#include "common/conf/read.h"

#include <math.h>

#include "common/base/vec.h"
#include "common/conf/value.h"

#define SECRET_TEXT "(secret)"

/* The node's text with references resolved, as if it had been written so; false if it has none. */
static bool resolve(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                    const struct tel_conf_node *node, struct tel_conf_node *ret)
{
    *ret = *node;
    if (node->kind != TEL_NODE_STRING && node->kind != TEL_NODE_TEXT)
        return true;
    if (!tel_conf_has_reference(node->v.text)) {
        if (item->secret && node->v.text.len && strcmp(node->file, "-o") == 0) {
            tel_conf_mistake(
                reader->mistakes, node, NULL,
                "a secret must not stand on the command line, where others can see it: "
                "use ${file:/path} or ${env:NAME}");
            return false;
        }
        return true;
    }
    struct tel_buf text = {0};
    struct tel_error err = {0};
    tel_code rc = tel_conf_expand(node->v.text, &text, &err);
    if (rc == TEL_OK) {
        ret->v.text = tel_arena_copy(&reader->conf->arena, tel_buf_span(&text));
        ret->kind = item->type == TEL_CONF_STRING || item->type == TEL_CONF_STRINGS ? node->kind
                                                                                    : TEL_NODE_TEXT;
    } else {
        tel_conf_mistake(reader->mistakes, node, NULL, "%s", err.text);
    }
    tel_buf_free(&text);
    return rc == TEL_OK;
}

/* What the user wrote, for a message. */
static const char *shown(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                         const struct tel_conf_node *node)
{
    struct tel_arena *arena = &reader->conf->arena;
    switch (node->kind) {
    case TEL_NODE_INT:
        return tel_arena_printf(arena, "%lld", (long long)node->v.i64).ptr;
    case TEL_NODE_DOUBLE:
        return tel_arena_printf(arena, "%g", node->v.dbl).ptr;
    case TEL_NODE_BOOL:
        return node->v.flag ? "true" : "false";
    case TEL_NODE_STRING:
    case TEL_NODE_TEXT:
        if (item->secret)
            return SECRET_TEXT;
        return tel_arena_printf(arena, "\"%.*s\"", (int)TEL_MIN(node->v.text.len, 80u),
                                node->v.text.ptr)
            .ptr;
    case TEL_NODE_GROUP:
    case TEL_NODE_LIST:
        break;
    }
    return tel_conf_kind_name(node->kind);
}

static void expected(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                     const struct tel_conf_node *node, const char *what)
{
    tel_conf_mistake(reader->mistakes, node, NULL, "%s is not %s", shown(reader, item, node), what);
}

static const char *shown_bound(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                               double bound)
{
    struct tel_buf text = {0};
    if (item->type == TEL_CONF_SIZE)
        tel_conf_format_size(&text, (int64_t)bound);
    else if (item->type == TEL_CONF_DURATION)
        tel_conf_format_duration(&text, (int64_t)bound);
    else
        tel_buf_printf(&text, "%.15g", bound);
    const char *copy = tel_arena_copy(&reader->conf->arena, tel_buf_span(&text)).ptr;
    tel_buf_free(&text);
    return copy;
}

static bool in_range(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                     const struct tel_conf_node *node, double v)
{
    const char *what = item->type == TEL_CONF_STRING ? "its length "
                       : item->type == TEL_CONF_STRINGS || item->type == TEL_CONF_SECTIONS
                           ? "the number of entries "
                           : "";
    if (v < item->min || isnan(v))
        tel_conf_mistake(reader->mistakes, node, NULL, "%s%s is below the least allowed, %s", what,
                         shown_bound(reader, item, v), shown_bound(reader, item, item->min));
    else if (v > item->max)
        tel_conf_mistake(reader->mistakes, node, NULL, "%s%s is above the most allowed, %s", what,
                         shown_bound(reader, item, v), shown_bound(reader, item, item->max));
    else
        return true;
    return false;
}

static void read_bool(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                      const struct tel_conf_node *node, bool *out)
{
    if (node->kind == TEL_NODE_BOOL)
        *out = node->v.flag;
    else if (node->kind == TEL_NODE_TEXT && tel_span_eq_cstr(node->v.text, "true"))
        *out = true;
    else if (node->kind == TEL_NODE_TEXT && tel_span_eq_cstr(node->v.text, "false"))
        *out = false;
    else
        expected(reader, item, node, "true or false");
}

static void read_integer(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                         const struct tel_conf_node *node, int64_t *out)
{
    static const char *const what[] = {
        [TEL_CONF_INT] = "a whole number",
        [TEL_CONF_SIZE] = "a size: write 4096, \"64KiB\" or \"10MB\"",
        [TEL_CONF_DURATION] = "a duration: write \"500ms\", \"5s\" or \"1h30m\"",
    };
    int64_t v = 0;
    long long plain = 0;
    bool is_text = node->kind == TEL_NODE_STRING || node->kind == TEL_NODE_TEXT, ok = false;
    if (node->kind == TEL_NODE_INT) {
        v = node->v.i64;
        ok = item->type != TEL_CONF_DURATION || v == 0; /* a bare number has no unit */
    } else if (is_text && item->type == TEL_CONF_SIZE) {
        ok = tel_conf_parse_size(node->v.text, &v);
    } else if (is_text && item->type == TEL_CONF_DURATION) {
        ok = tel_conf_parse_duration(node->v.text, &v);
    } else if (node->kind == TEL_NODE_TEXT) {
        ok = tel_span_to_i64(node->v.text, &plain);
        v = plain;
    }
    if (!ok)
        expected(reader, item, node, what[item->type]);
    else if (in_range(reader, item, node, (double)v))
        *out = v;
}

static void read_double(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                        const struct tel_conf_node *node, double *out)
{
    double v = 0;
    bool ok = true;
    if (node->kind == TEL_NODE_DOUBLE)
        v = node->v.dbl;
    else if (node->kind == TEL_NODE_INT)
        v = (double)node->v.i64;
    else
        ok = node->kind == TEL_NODE_TEXT && tel_span_to_double(node->v.text, &v);
    if (!ok)
        expected(reader, item, node, "a number");
    else if (in_range(reader, item, node, v))
        *out = v;
}

static bool unit_is(const struct tel_conf_item *item, const char *unit)
{
    return item->unit && strcmp(item->unit, unit) == 0;
}

static bool check_text(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                       const struct tel_conf_node *node, struct tel_span text)
{
    if (unit_is(item, "host:port") && text.len && !tel_conf_is_host_port(text)) {
        expected(reader, item, node, "an address: write host:port");
        return false;
    }
    return true;
}

static void read_string(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                        const struct tel_conf_node *node, char **out)
{
    if (node->kind != TEL_NODE_STRING && node->kind != TEL_NODE_TEXT) {
        expected(reader, item, node, "a string");
        return;
    }
    if (in_range(reader, item, node, (double)node->v.text.len) &&
        check_text(reader, item, node, node->v.text))
        *out = tel_arena_strdup(&reader->conf->arena, node->v.text.ptr);
}

static void read_strings(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                         const struct tel_conf_node *node, struct tel_conf_strings *out)
{
    struct tel_arena *arena = &reader->conf->arena;
    TEL_VEC(char *) found = {0};
    bool ok = true;
    if (node->kind == TEL_NODE_LIST) {
        for (const struct tel_conf_node *child = node->first; child; child = child->next) {
            struct tel_conf_node plain;
            if (child->kind != TEL_NODE_STRING) {
                expected(reader, item, child, "a string");
                ok = false;
            } else if (!resolve(reader, item, child, &plain) ||
                       !check_text(reader, item, child, plain.v.text)) {
                ok = false;
            } else {
                tel_vec_push(&found, tel_arena_strdup(arena, plain.v.text.ptr));
            }
        }
    } else if (node->kind == TEL_NODE_TEXT || node->kind == TEL_NODE_STRING) {
        /* One string stands for a list of one; on the command line commas separate. */
        struct tel_span rest = node->v.text;
        while (rest.len) {
            struct tel_span part = node->kind == TEL_NODE_TEXT ? tel_span_split(&rest, ',') : rest;
            if (node->kind == TEL_NODE_STRING)
                rest.len = 0;
            part = tel_span_trim(part);
            ok = check_text(reader, item, node, part) && ok;
            tel_vec_push(&found, tel_arena_strdup(arena, tel_arena_copy(arena, part).ptr));
        }
    } else {
        expected(reader, item, node, "a list of strings");
        ok = false;
    }
    if (ok && in_range(reader, item, node, (double)found.len)) {
        out->items = TEL_ARENA_ARRAY(arena, char *, found.len);
        out->len = found.len;
        for (size_t i = 0; i < found.len; i++)
            out->items[i] = found.items[i];
    }
    tel_vec_free(&found);
}

static void read_enum(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                      const struct tel_conf_node *node, int *out)
{
    struct tel_span rest = tel_span_cstr(item->unit);
    if (node->kind == TEL_NODE_STRING || node->kind == TEL_NODE_TEXT) {
        for (int i = 0; rest.ptr; i++) {
            if (tel_span_eq(tel_span_split(&rest, '|'), node->v.text)) {
                *out = i;
                return;
            }
        }
    }
    struct tel_buf what = {0};
    TEL_BUF_ADD_LIT(&what, "one of ");
    rest = tel_span_cstr(item->unit);
    for (bool first = true; rest.ptr; first = false) {
        if (!first)
            TEL_BUF_ADD_LIT(&what, ", ");
        tel_buf_add_span(&what, tel_span_split(&rest, '|'));
    }
    expected(reader, item, node, tel_buf_cstr(&what));
    tel_buf_free(&what);
}

static void read_sections(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                          const struct tel_conf_node *node, struct tel_conf_sections *out)
{
    const struct tel_conf_table *table = item->unit;
    struct tel_arena *arena = &reader->conf->arena;
    bool empty = node->kind == TEL_NODE_TEXT && node->v.text.len == 0;
    if (node->kind != TEL_NODE_LIST && !empty) {
        expected(reader, item, node, "a list of groups: write ( { ... }, { ... } )");
        return;
    }
    if (!in_range(reader, item, node, (double)node->count))
        return;
    out->nodes = TEL_ARENA_ARRAY(arena, const struct tel_conf_node *, node->count);
    out->structs = table ? tel_arena_calloc(arena, node->count, table->struct_size) : NULL;
    out->len = 0;
    for (const struct tel_conf_node *child = node->first; child; child = child->next) {
        if (child->kind != TEL_NODE_GROUP) {
            expected(reader, item, child, "a group: write { ... }");
            continue;
        }
        out->nodes[out->len] = child;
        if (table) {
            struct tel_conf_target target = {table,
                                             (char *)out->structs + out->len * table->struct_size};
            (void)!tel_conf_read(reader->conf, child, &target, 1, reader->mistakes);
        }
        out->len++;
    }
}

void tel_conf_read_value(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                         const struct tel_conf_node *node, void *out)
{
    struct tel_conf_node plain;
    if (!resolve(reader, item, node, &plain))
        return;
    switch (item->type) {
    case TEL_CONF_BOOL:
        read_bool(reader, item, &plain, out);
        break;
    case TEL_CONF_INT:
    case TEL_CONF_SIZE:
    case TEL_CONF_DURATION:
        read_integer(reader, item, &plain, out);
        break;
    case TEL_CONF_DOUBLE:
        read_double(reader, item, &plain, out);
        break;
    case TEL_CONF_STRING:
        read_string(reader, item, &plain, out);
        break;
    case TEL_CONF_STRINGS:
        read_strings(reader, item, &plain, out);
        break;
    case TEL_CONF_ENUM:
        read_enum(reader, item, &plain, out);
        break;
    case TEL_CONF_SECTIONS:
        read_sections(reader, item, &plain, out);
        break;
    }
}

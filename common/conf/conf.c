/*
 * Reading a tree through tables. Each item finds its node, or takes its default as if it had been
 * written, and one function per type turns the node into the member. Nothing stops at the first
 * mistake: a member that cannot be read keeps its default and the next one is looked at.
 */
#include "common/conf/conf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/vec.h"
#include "common/conf/build.h"
#include "common/conf/value.h"

#define SECRET_TEXT "(secret)"

struct context {
    struct tel_conf *conf;
    struct tel_conf_mistakes *mistakes;
};

void tel_conf_mistakes_free(struct tel_conf_mistakes *mistakes)
{
    if (!mistakes)
        return;
    tel_buf_free(&mistakes->text);
    mistakes->count = 0;
}

void tel_conf_mistake(struct tel_conf_mistakes *mistakes, const struct tel_conf_node *node,
                      const char *key, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct tel_buf *out = &mistakes->text;
    if (node->file && *node->file) {
        tel_buf_add_escaped(out, tel_span_cstr(node->file), 1024);
        if (node->line)
            tel_buf_printf(out, ":%u", node->line);
        TEL_BUF_ADD_LIT(out, ": ");
    }
    const char *name = key ? key : node->path;
    if (*name) {
        tel_buf_add_escaped(out, tel_span_cstr(name), 256);
        TEL_BUF_ADD_LIT(out, ": ");
    }
    tel_buf_add_escaped(out, tel_span_cstr(text), sizeof text);
    tel_buf_add_char(out, '\n');
    mistakes->count++;
}

struct tel_conf *tel_conf_load(const struct tel_conf_source *source,
                               struct tel_conf_mistakes *mistakes)
{
    size_t before = mistakes->count;
    struct tel_conf *conf = TEL_NEW(struct tel_conf);
    tel_arena_init(&conf->arena, 0);
    if (source->file)
        conf->root = tel_conf_parse_file(&conf->arena, source->file, mistakes);
    else
        conf->root = tel_conf_node_new(&conf->arena, NULL, TEL_NODE_GROUP, (struct tel_span){0});
    for (size_t i = 0; conf->root && i < source->override_count; i++)
        tel_conf_override(&conf->arena, conf->root, source->overrides[i], mistakes);
    if (mistakes->count == before)
        return conf;
    tel_conf_free(conf);
    return NULL;
}

struct tel_conf *tel_conf_load_text(const char *name, const char *text,
                                    struct tel_conf_mistakes *mistakes)
{
    struct tel_conf *conf = TEL_NEW(struct tel_conf);
    tel_arena_init(&conf->arena, 0);
    conf->root = tel_conf_parse_text(&conf->arena, name, text, mistakes);
    if (conf->root)
        return conf;
    tel_conf_free(conf);
    return NULL;
}

void tel_conf_free(struct tel_conf *conf)
{
    if (!conf)
        return;
    tel_arena_free(&conf->arena);
    free(conf);
}

/* --- values ------------------------------------------------------------------------------------ */

/* The node's text with references resolved, as if it had been written so; false if it has none. */
static bool resolve(struct context *ctx, const struct tel_conf_item *item,
                    const struct tel_conf_node *node, struct tel_conf_node *ret)
{
    *ret = *node;
    if (node->kind != TEL_NODE_STRING && node->kind != TEL_NODE_TEXT)
        return true;
    if (!tel_conf_has_reference(node->v.text)) {
        if (item->secret && node->v.text.len && strcmp(node->file, "-o") == 0) {
            tel_conf_mistake(ctx->mistakes, node, NULL,
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
        ret->v.text = tel_arena_copy(&ctx->conf->arena, tel_buf_span(&text));
        ret->kind = item->type == TEL_CONF_STRING || item->type == TEL_CONF_STRINGS ? node->kind
                                                                                    : TEL_NODE_TEXT;
    } else {
        tel_conf_mistake(ctx->mistakes, node, NULL, "%s", err.text);
    }
    tel_buf_free(&text);
    return rc == TEL_OK;
}

/* What the user wrote, for a message. */
static const char *shown(struct context *ctx, const struct tel_conf_item *item,
                         const struct tel_conf_node *node)
{
    struct tel_arena *arena = &ctx->conf->arena;
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

static void expected(struct context *ctx, const struct tel_conf_item *item,
                     const struct tel_conf_node *node, const char *what)
{
    tel_conf_mistake(ctx->mistakes, node, NULL, "%s is not %s", shown(ctx, item, node), what);
}

static const char *shown_bound(struct context *ctx, const struct tel_conf_item *item, double bound)
{
    struct tel_buf text = {0};
    if (item->type == TEL_CONF_SIZE)
        tel_conf_format_size(&text, (int64_t)bound);
    else if (item->type == TEL_CONF_DURATION)
        tel_conf_format_duration(&text, (int64_t)bound);
    else
        tel_buf_printf(&text, "%.15g", bound);
    const char *copy = tel_arena_copy(&ctx->conf->arena, tel_buf_span(&text)).ptr;
    tel_buf_free(&text);
    return copy;
}

static bool in_range(struct context *ctx, const struct tel_conf_item *item,
                     const struct tel_conf_node *node, double v)
{
    const char *what = item->type == TEL_CONF_STRING ? "its length "
                       : item->type == TEL_CONF_STRINGS || item->type == TEL_CONF_SECTIONS
                           ? "the number of entries "
                           : "";
    if (v < item->min || isnan(v))
        tel_conf_mistake(ctx->mistakes, node, NULL, "%s%s is below the least allowed, %s", what,
                         shown_bound(ctx, item, v), shown_bound(ctx, item, item->min));
    else if (v > item->max)
        tel_conf_mistake(ctx->mistakes, node, NULL, "%s%s is above the most allowed, %s", what,
                         shown_bound(ctx, item, v), shown_bound(ctx, item, item->max));
    else
        return true;
    return false;
}

static void read_bool(struct context *ctx, const struct tel_conf_item *item,
                      const struct tel_conf_node *node, bool *out)
{
    if (node->kind == TEL_NODE_BOOL)
        *out = node->v.flag;
    else if (node->kind == TEL_NODE_TEXT && tel_span_eq_cstr(node->v.text, "true"))
        *out = true;
    else if (node->kind == TEL_NODE_TEXT && tel_span_eq_cstr(node->v.text, "false"))
        *out = false;
    else
        expected(ctx, item, node, "true or false");
}

static void read_integer(struct context *ctx, const struct tel_conf_item *item,
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
        expected(ctx, item, node, what[item->type]);
    else if (in_range(ctx, item, node, (double)v))
        *out = v;
}

static void read_double(struct context *ctx, const struct tel_conf_item *item,
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
        expected(ctx, item, node, "a number");
    else if (in_range(ctx, item, node, v))
        *out = v;
}

static bool unit_is(const struct tel_conf_item *item, const char *unit)
{
    return item->unit && strcmp(item->unit, unit) == 0;
}

static bool check_text(struct context *ctx, const struct tel_conf_item *item,
                       const struct tel_conf_node *node, struct tel_span text)
{
    if (unit_is(item, "host:port") && text.len && !tel_conf_is_host_port(text)) {
        expected(ctx, item, node, "an address: write host:port");
        return false;
    }
    return true;
}

static void read_string(struct context *ctx, const struct tel_conf_item *item,
                        const struct tel_conf_node *node, char **out)
{
    if (node->kind != TEL_NODE_STRING && node->kind != TEL_NODE_TEXT) {
        expected(ctx, item, node, "a string");
        return;
    }
    if (in_range(ctx, item, node, (double)node->v.text.len) &&
        check_text(ctx, item, node, node->v.text))
        *out = tel_arena_strdup(&ctx->conf->arena, node->v.text.ptr);
}

static void read_strings(struct context *ctx, const struct tel_conf_item *item,
                         const struct tel_conf_node *node, struct tel_conf_strings *out)
{
    struct tel_arena *arena = &ctx->conf->arena;
    TEL_VEC(char *) found = {0};
    bool ok = true;
    if (node->kind == TEL_NODE_LIST) {
        for (const struct tel_conf_node *child = node->first; child; child = child->next) {
            struct tel_conf_node plain;
            if (child->kind != TEL_NODE_STRING) {
                expected(ctx, item, child, "a string");
                ok = false;
            } else if (!resolve(ctx, item, child, &plain) ||
                       !check_text(ctx, item, child, plain.v.text)) {
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
            ok = check_text(ctx, item, node, part) && ok;
            tel_vec_push(&found, tel_arena_strdup(arena, tel_arena_copy(arena, part).ptr));
        }
    } else {
        expected(ctx, item, node, "a list of strings");
        ok = false;
    }
    if (ok && in_range(ctx, item, node, (double)found.len)) {
        out->items = TEL_ARENA_ARRAY(arena, char *, found.len);
        out->len = found.len;
        for (size_t i = 0; i < found.len; i++)
            out->items[i] = found.items[i];
    }
    tel_vec_free(&found);
}

static void read_enum(struct context *ctx, const struct tel_conf_item *item,
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
    expected(ctx, item, node, tel_buf_cstr(&what));
    tel_buf_free(&what);
}

static void read_sections(struct context *ctx, const struct tel_conf_item *item,
                          const struct tel_conf_node *node, struct tel_conf_sections *out)
{
    const struct tel_conf_table *table = item->unit;
    struct tel_arena *arena = &ctx->conf->arena;
    bool empty = node->kind == TEL_NODE_TEXT && node->v.text.len == 0;
    if (node->kind != TEL_NODE_LIST && !empty) {
        expected(ctx, item, node, "a list of groups: write ( { ... }, { ... } )");
        return;
    }
    if (!in_range(ctx, item, node, (double)node->count))
        return;
    out->nodes = TEL_ARENA_ARRAY(arena, const struct tel_conf_node *, node->count);
    out->structs = table ? tel_arena_calloc(arena, node->count, table->struct_size) : NULL;
    out->len = 0;
    for (const struct tel_conf_node *child = node->first; child; child = child->next) {
        if (child->kind != TEL_NODE_GROUP) {
            expected(ctx, item, child, "a group: write { ... }");
            continue;
        }
        out->nodes[out->len] = child;
        if (table) {
            struct tel_conf_target target = {
                table, (char *)out->structs + out->len * table->struct_size};
            (void)!tel_conf_read(ctx->conf, child, &target, 1, ctx->mistakes);
        }
        out->len++;
    }
}

static void read_value(struct context *ctx, const struct tel_conf_item *item,
                       const struct tel_conf_node *node, void *out)
{
    struct tel_conf_node plain;
    if (!resolve(ctx, item, node, &plain))
        return;
    switch (item->type) {
    case TEL_CONF_BOOL:
        read_bool(ctx, item, &plain, out);
        break;
    case TEL_CONF_INT:
    case TEL_CONF_SIZE:
    case TEL_CONF_DURATION:
        read_integer(ctx, item, &plain, out);
        break;
    case TEL_CONF_DOUBLE:
        read_double(ctx, item, &plain, out);
        break;
    case TEL_CONF_STRING:
        read_string(ctx, item, &plain, out);
        break;
    case TEL_CONF_STRINGS:
        read_strings(ctx, item, &plain, out);
        break;
    case TEL_CONF_ENUM:
        read_enum(ctx, item, &plain, out);
        break;
    case TEL_CONF_SECTIONS:
        read_sections(ctx, item, &plain, out);
        break;
    }
}

/* --- tables ------------------------------------------------------------------------------------ */

static void set_default(struct context *ctx, const struct tel_conf_item *item, void *out)
{
    if (item->type == TEL_CONF_STRING)
        *(char **)out = tel_arena_strdup(&ctx->conf->arena, "");
    if (!item->def)
        return;
    /* A default is ours: it must be right, and what is wrong with it is not the user's mistake. */
    struct tel_conf_mistakes ours = {0};
    struct context quiet = {ctx->conf, &ours};
    struct tel_conf_item unbounded = *item;
    unbounded.min = -TEL_CONF_ANY;
    unbounded.max = TEL_CONF_ANY;
    struct tel_conf_node node = {.kind = TEL_NODE_TEXT,
                                 .key = "",
                                 .path = item->path,
                                 .file = "default",
                                 .v.text = tel_span_cstr(item->def)};
    read_value(&quiet, &unbounded, &node, out);
    if (ours.count)
        fprintf(stderr, "%s", tel_buf_cstr(&ours.text));
    TEL_CHECK(ours.count == 0);
    tel_conf_mistakes_free(&ours);
}

static void read_item(struct context *ctx, const struct tel_conf_node *group,
                      const struct tel_conf_item *item, void *out)
{
    set_default(ctx, item, out);
    const struct tel_conf_node *node = tel_conf_node_find(group, item->path);
    if (node) {
        read_value(ctx, item, node, out);
    } else if (!item->def) {
        const char *key = *group->path ? tel_arena_printf(&ctx->conf->arena, "%s.%s", group->path,
                                                          item->path)
                                             .ptr
                                       : item->path;
        tel_conf_mistake(ctx->mistakes, group, key, "must be set");
    }
}

/* Damerau and Levenshtein's distance, restricted form, for names of ordinary length. */
static size_t distance(struct tel_span a, struct tel_span b)
{
    enum { MAX = 64 };
    size_t rows[3][MAX + 1];
    if (a.len > MAX || b.len > MAX)
        return SIZE_MAX;
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b.len; j++)
        last[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = a.ptr[i - 1] == b.ptr[j - 1];
            size_t best = TEL_MIN(last[j] + 1, row[j - 1] + 1);
            best = TEL_MIN(best, last[j - 1] + !same);
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1])
                best = TEL_MIN(best, before[j - 2] + 1);
            row[j] = best;
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b.len];
}

struct walk {
    struct context *ctx;
    const struct tel_conf_node *group;
    const struct tel_conf_target *targets;
    size_t count;
};

static const char *nearest_key(const struct walk *walk, const char *path)
{
    struct tel_span name = tel_span_cstr(path);
    const char *best = NULL;
    size_t best_distance = 1 + TEL_MAX(name.len / 4, 1u);
    for (size_t t = 0; t < walk->count; t++) {
        const struct tel_conf_table *table = walk->targets[t].table;
        for (size_t i = 0; i < table->count; i++) {
            size_t d = distance(name, tel_span_cstr(table->items[i].path));
            if (d <= best_distance && (!best || d < best_distance)) {
                best = table->items[i].path;
                best_distance = d;
            }
        }
    }
    return best;
}

enum match { MATCH_NONE, MATCH_ITEM, MATCH_GROUP };

/* Is the path (below the walk's group) an item, or a group that items lie in? */
static enum match match_path(const struct walk *walk, const char *path)
{
    size_t len = strlen(path);
    enum match match = MATCH_NONE;
    for (size_t t = 0; t < walk->count; t++) {
        const struct tel_conf_table *table = walk->targets[t].table;
        for (size_t i = 0; i < table->count; i++) {
            const char *item = table->items[i].path;
            if (strcmp(item, path) == 0)
                return MATCH_ITEM;
            if (strncmp(item, path, len) == 0 && item[len] == '.')
                match = MATCH_GROUP;
        }
    }
    return match;
}

static void find_unknown(const struct walk *walk, const struct tel_conf_node *group)
{
    size_t skip = strlen(walk->group->path);
    skip += skip > 0; /* the dot */
    for (const struct tel_conf_node *child = group->first; child; child = child->next) {
        const char *path = child->path + skip;
        enum match match = match_path(walk, path);
        if (match == MATCH_ITEM)
            continue;
        if (match == MATCH_GROUP && child->kind == TEL_NODE_GROUP) {
            find_unknown(walk, child);
            continue;
        }
        if (match == MATCH_GROUP) {
            tel_conf_mistake(walk->ctx->mistakes, child, NULL, "is a group of keys: write %s = { ... }",
                             child->key);
            continue;
        }
        /* A misspelt group is compared by the first of its keys. */
        const char *near = nearest_key(walk, path);
        for (const struct tel_conf_node *deep = child->first; !near && deep; deep = deep->first)
            near = deep->key[0] == '[' ? NULL : nearest_key(walk, deep->path + skip);
        if (near)
            tel_conf_mistake(walk->ctx->mistakes, child, NULL, "no such key; did you mean %s?", near);
        else
            tel_conf_mistake(walk->ctx->mistakes, child, NULL, "no such key");
    }
}

tel_code tel_conf_read(struct tel_conf *conf, const struct tel_conf_node *group,
                       const struct tel_conf_target *targets, size_t count,
                       struct tel_conf_mistakes *mistakes)
{
    struct context ctx = {conf, mistakes};
    struct walk walk = {&ctx, group, targets, count};
    size_t before = mistakes->count;
    find_unknown(&walk, group);
    for (size_t t = 0; t < count; t++) {
        const struct tel_conf_table *table = targets[t].table;
        memset(targets[t].out, 0, table->struct_size);
        for (size_t i = 0; i < table->count; i++)
            read_item(&ctx, group, &table->items[i], (char *)targets[t].out + table->items[i].offset);
    }
    return mistakes->count == before ? TEL_OK : TEL_ERR_INVALID;
}

/*
 * Reading a tree through tables. Each item finds its node, or takes its default as if it had been
 * written; read.c turns the node into the member. Nothing stops at the first mistake: a member that
 * cannot be read keeps its default and the next one is looked at.
 */
#include "common/conf/conf.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/conf/node.h"
#include "common/conf/build.h"
#include "common/conf/read.h"

void tel_conf_mistakes_free(struct tel_conf_mistakes *mistakes)
{
    if (!mistakes)
        return;
    tel_buf_free(&mistakes->text);
    mistakes->count = 0;
}

/* Is a line "place: key: what" of this key there? */
static bool speaks_of(const struct tel_conf_mistakes *said, const char *key)
{
    struct tel_span text = tel_buf_span(&said->text), name = tel_span_cstr(key);
    for (size_t at = 0; at + name.len + 2 <= text.len; at++) {
        bool begins = at == 0 || text.ptr[at - 1] == ' ' || text.ptr[at - 1] == '\n';
        if (begins && memcmp(text.ptr + at, key, name.len) == 0 &&
            memcmp(text.ptr + at + name.len, ": ", 2) == 0)
            return true;
    }
    return false;
}

void tel_conf_mistake(struct tel_conf_mistakes *mistakes, const struct tel_conf_node *node,
                      const char *key, const char *fmt, ...)
{
    char text[1024];
    const char *name = key ? key : node->path;
    if (mistakes->said && *name && speaks_of(mistakes->said, name))
        return;
    const struct tel_conf_node *at = key ? tel_conf_node_find(node, key) : NULL;
    node = at ? at : node;
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
    size_t before = mistakes->count;
    struct tel_conf *conf = TEL_NEW(struct tel_conf);
    tel_arena_init(&conf->arena, 0);
    conf->root = tel_conf_parse_text(&conf->arena, name, text, mistakes);
    if (mistakes->count == before)
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

/* --- tables ---------------------------------------------------------------------------------- */

static void set_default(struct tel_conf_reader *reader, const struct tel_conf_item *item, void *out)
{
    if (item->type == TEL_CONF_STRING)
        *(char **)out = tel_arena_strdup(&reader->conf->arena, "");
    if (!item->def)
        return;
    /* A default is ours: it must be right, and what is wrong with it is not the user's mistake. */
    struct tel_conf_mistakes ours = {0};
    struct tel_conf_reader quiet = {reader->conf, &ours};
    struct tel_conf_item unbounded = *item;
    unbounded.min = -TEL_CONF_ANY;
    unbounded.max = TEL_CONF_ANY;
    struct tel_conf_node node = {.kind = TEL_NODE_TEXT,
                                 .key = "",
                                 .path = item->path,
                                 .file = "default",
                                 .v.text = tel_span_cstr(item->def)};
    tel_conf_read_value(&quiet, &unbounded, &node, out);
    if (ours.count)
        fprintf(stderr, "%s", tel_buf_cstr(&ours.text));
    TEL_CHECK(ours.count == 0);
    tel_conf_mistakes_free(&ours);
}

static void read_item(struct tel_conf_reader *reader, const struct tel_conf_node *group,
                      const struct tel_conf_item *item, void *out)
{
    set_default(reader, item, out);
    const struct tel_conf_node *node = tel_conf_node_find(group, item->path);
    if (node) {
        tel_conf_read_value(reader, item, node, out);
    } else if (!item->def) {
        const char *key =
            *group->path
                ? tel_arena_printf(&reader->conf->arena, "%s.%s", group->path, item->path).ptr
                : item->path;
        tel_conf_mistake(reader->mistakes, group, key, "must be set");
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
    struct tel_conf_reader *reader;
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
            tel_conf_mistake(walk->reader->mistakes, child, NULL,
                             "is a group of keys: write %s = { ... }", child->key);
            continue;
        }
        /* A misspelt group is compared by the first of its keys. */
        const char *near = nearest_key(walk, path);
        for (const struct tel_conf_node *deep = child->first; !near && deep; deep = deep->first)
            near = deep->key[0] == '[' ? NULL : nearest_key(walk, deep->path + skip);
        if (near)
            tel_conf_mistake(walk->reader->mistakes, child, NULL, "no such key; did you mean %s?",
                             near);
        else
            tel_conf_mistake(walk->reader->mistakes, child, NULL, "no such key");
    }
}

tel_code tel_conf_read(struct tel_conf *conf, const struct tel_conf_node *group,
                       const struct tel_conf_target *targets, size_t count,
                       struct tel_conf_mistakes *mistakes)
{
    struct tel_conf_reader reader = {conf, mistakes};
    struct walk walk = {&reader, group, targets, count};
    size_t before = mistakes->count;
    find_unknown(&walk, group);
    for (size_t t = 0; t < count; t++) {
        const struct tel_conf_table *table = targets[t].table;
        memset(targets[t].out, 0, table->struct_size);
        for (size_t i = 0; i < table->count; i++)
            read_item(&reader, group, &table->items[i],
                      (char *)targets[t].out + table->items[i].offset);
    }
    return mistakes->count == before ? TEL_OK : TEL_ERR_INVALID;
}

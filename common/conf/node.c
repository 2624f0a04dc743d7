#include "common/conf/node.h"

#include "common/conf/build.h"

struct tel_conf_node *tel_conf_node_new(struct tel_arena *arena, struct tel_conf_node *parent,
                                        enum tel_conf_kind kind, struct tel_span key)
{
    struct tel_conf_node *node = TEL_ARENA_NEW(arena, struct tel_conf_node);
    node->kind = kind;
    node->key = node->path = node->file = "";
    if (!parent)
        return node;
    if (parent->kind == TEL_NODE_LIST) {
        node->key = tel_arena_printf(arena, "[%zu]", parent->count).ptr;
        node->path = tel_arena_printf(arena, "%s%s", parent->path, node->key).ptr;
    } else {
        node->key = tel_arena_copy(arena, key).ptr;
        node->path =
            tel_arena_printf(arena, "%s%s%s", parent->path, *parent->path ? "." : "", node->key).ptr;
    }
    if (parent->last)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    parent->count++;
    return node;
}

struct tel_conf_node *tel_conf_node_get(const struct tel_conf_node *group, struct tel_span key)
{
    if (group->kind != TEL_NODE_GROUP)
        return NULL;
    struct tel_conf_node *child = group->first;
    while (child && !tel_span_eq_cstr(key, child->key))
        child = child->next;
    return child;
}

struct tel_conf_node *tel_conf_node_find(const struct tel_conf_node *group, const char *path)
{
    struct tel_span rest = tel_span_cstr(path);
    struct tel_conf_node *node = NULL;
    while (group && rest.ptr) {
        node = tel_conf_node_get(group, tel_span_split(&rest, '.'));
        group = node;
    }
    return node;
}

const char *tel_conf_kind_name(enum tel_conf_kind kind)
{
    switch (kind) {
    case TEL_NODE_GROUP:
        return "a group";
    case TEL_NODE_LIST:
        return "a list";
    case TEL_NODE_BOOL:
        return "true or false";
    case TEL_NODE_INT:
    case TEL_NODE_DOUBLE:
        return "a number";
    case TEL_NODE_STRING:
    case TEL_NODE_TEXT:
        return "a string";
    }
    return "?";
}

/* The part of an override's key: an index below a list, a name below a group. */
static struct tel_conf_node *step(const struct tel_conf_node *node, struct tel_span part)
{
    if (node->kind != TEL_NODE_LIST)
        return tel_conf_node_get(node, part);
    unsigned long long index;
    if (!tel_span_to_u64(part, &index))
        return NULL;
    struct tel_conf_node *child = node->first;
    while (child && index--)
        child = child->next;
    return child;
}

static bool is_name(struct tel_span s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return s.len > 0;
}

/* Finds or makes the node that an override sets; NULL when there is no place for it. */
static struct tel_conf_node *make_place(struct tel_arena *arena, struct tel_conf_node *root,
                                        struct tel_span key)
{
    struct tel_conf_node *node = root;
    while (key.ptr) {
        struct tel_span part = tel_span_split(&key, '.');
        if (!is_name(part) || (node->kind != TEL_NODE_GROUP && node->kind != TEL_NODE_LIST))
            return NULL;
        struct tel_conf_node *child = step(node, part);
        if (!child && node->kind == TEL_NODE_LIST)
            return NULL;
        if (!child) {
            child = tel_conf_node_new(arena, node, TEL_NODE_GROUP, part);
            child->file = "-o";
        }
        node = child;
    }
    return node == root ? NULL : node;
}

/* A copy of what stands at `from` under the place's own name and path. */
static void graft(struct tel_arena *arena, struct tel_conf_node *place,
                  const struct tel_conf_node *from)
{
    place->kind = from->kind;
    place->v = from->v;
    place->file = "-o";
    place->line = 0;
    place->first = place->last = NULL;
    place->count = 0;
    for (const struct tel_conf_node *child = from->first; child; child = child->next)
        graft(arena, tel_conf_node_new(arena, place, child->kind, tel_span_cstr(child->key)), child);
}

void tel_conf_override(struct tel_arena *arena, struct tel_conf_node *root, const char *override,
                       struct tel_conf_mistakes *mistakes)
{
    const struct tel_conf_node at = {.path = "", .file = "-o"};
    const char *equals = strchr(override, '=');
    if (!equals) {
        tel_conf_mistake(mistakes, &at, override, "has no '=': write -o key=value");
        return;
    }
    struct tel_span key = tel_span_make(override, (size_t)(equals - override));
    struct tel_conf_node *place = make_place(arena, root, key);
    if (!place) {
        tel_conf_mistake(mistakes, &at, tel_arena_copy(arena, key).ptr, "is not a key");
        return;
    }
    const char *value = equals + 1;
    if (*value != '\0' && strchr("[({\"", *value)) {
        /* In the file's own syntax. */
        struct tel_span text = tel_arena_printf(arena, "value = %s;", value);
        struct tel_conf_node *parsed = tel_conf_parse_text(arena, "-o", text.ptr, mistakes);
        if (parsed && parsed->first)
            graft(arena, place, parsed->first);
        return;
    }
    struct tel_conf_node plain = {.kind = TEL_NODE_TEXT,
                                  .v.text = tel_arena_copy(arena, tel_span_cstr(value))};
    graft(arena, place, &plain);
}

#include "common/conf/doc.h"

#include "common/conf/value.h"

#define HELP_WIDTH  96
#define HELP_INDENT 6
#define MASK        "\"********\""

static const char *const type_names[] = {
    [TEL_CONF_BOOL] = "true/false",   [TEL_CONF_INT] = "number",     [TEL_CONF_DOUBLE] = "number",
    [TEL_CONF_SIZE] = "size",         [TEL_CONF_DURATION] = "duration", [TEL_CONF_STRING] = "string",
    [TEL_CONF_STRINGS] = "list of strings", [TEL_CONF_ENUM] = "choice",
    [TEL_CONF_SECTIONS] = "list of groups",
};

static void add_type(struct tel_buf *out, const struct tel_conf_item *item)
{
    if (item->type == TEL_CONF_ENUM) {
        struct tel_span rest = tel_span_cstr(item->unit);
        for (bool first = true; rest.ptr; first = false) {
            if (!first)
                TEL_BUF_ADD_LIT(out, ", ");
            tel_buf_add_span(out, tel_span_split(&rest, '|'));
        }
        return;
    }
    tel_buf_add_span(out, tel_span_cstr(type_names[item->type]));
    const char *unit = item->type != TEL_CONF_SECTIONS ? item->unit : NULL;
    if (unit && *unit)
        tel_buf_printf(out, ", %s", unit);
}

static void add_bound(struct tel_buf *out, const struct tel_conf_item *item, double v)
{
    if (item->type == TEL_CONF_SIZE)
        tel_conf_format_size(out, (int64_t)v);
    else if (item->type == TEL_CONF_DURATION)
        tel_conf_format_duration(out, (int64_t)v);
    else
        tel_buf_printf(out, "%.15g", v);
}

/* "1KiB to 16MiB"; nothing where a range says nothing. */
static void add_range(struct tel_buf *out, const struct tel_conf_item *item)
{
    if (item->type == TEL_CONF_BOOL || item->type == TEL_CONF_ENUM || item->type == TEL_CONF_STRING)
        return;
    bool counts = item->type == TEL_CONF_STRINGS || item->type == TEL_CONF_SECTIONS;
    if (item->max < TEL_CONF_ANY) {
        add_bound(out, item, item->min);
        TEL_BUF_ADD_LIT(out, " to ");
        add_bound(out, item, item->max);
    } else if (item->min > 0 || (!counts && item->min > -TEL_CONF_ANY)) {
        TEL_BUF_ADD_LIT(out, "from ");
        add_bound(out, item, item->min);
    } else {
        return;
    }
    if (counts)
        TEL_BUF_ADD_LIT(out, " entries");
}

static struct tel_span group_of(const char *path)
{
    const char *dot = strchr(path, '.');
    return dot ? tel_span_make(path, (size_t)(dot - path)) : (struct tel_span){0};
}

static void add_cell(struct tel_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            tel_buf_add_char(out, '\\');
        tel_buf_add_char(out, *text == '\n' ? ' ' : *text);
    }
}

static void add_row(struct tel_buf *out, const struct tel_conf_item *item)
{
    tel_buf_printf(out, "| `%s` | ", item->path);
    add_type(out, item);
    TEL_BUF_ADD_LIT(out, " | ");
    if (!item->def)
        TEL_BUF_ADD_LIT(out, "must be set");
    else if (*item->def)
        tel_buf_printf(out, "`%s`", item->def);
    TEL_BUF_ADD_LIT(out, " | ");
    add_range(out, item);
    TEL_BUF_ADD_LIT(out, " | ");
    add_cell(out, item->doc);
    if (item->secret)
        tel_buf_printf(out, "%s Secret: give it as `${file:/path}` or `${env:NAME}`.",
                       tel_span_ends(tel_span_cstr(item->doc), TEL_SPAN(".")) ? "" : ".");
    TEL_BUF_ADD_LIT(out, " |\n");
}

static void add_table_head(struct tel_buf *out, const char *level, struct tel_span title)
{
    if (title.len)
        tel_buf_printf(out, "\n%s %.*s\n", level, TEL_SPAN_ARG(title));
    TEL_BUF_ADD_LIT(out, "\n| Key | Type | Default | Range | |\n|---|---|---|---|---|\n");
}

static void add_group(struct tel_buf *out, const struct tel_conf_table *const *tables, size_t count,
                      struct tel_span group)
{
    bool head = false;
    for (size_t t = 0; t < count; t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct tel_conf_item *item = &tables[t]->items[i];
            if (!tel_span_eq(group_of(item->path), group))
                continue;
            if (!head)
                add_table_head(out, "##", group);
            head = true;
            add_row(out, item);
        }
    }
}

static void add_section_tables(struct tel_buf *out, const struct tel_conf_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct tel_conf_table *inner = table->items[i].unit;
        if (table->items[i].type != TEL_CONF_SECTIONS || !inner)
            continue;
        struct tel_buf title = {0};
        tel_buf_printf(&title, "Each group of `%s`", table->items[i].path);
        add_table_head(out, "##", tel_buf_span(&title));
        tel_buf_free(&title);
        for (size_t k = 0; k < inner->count; k++)
            add_row(out, &inner->items[k]);
        add_section_tables(out, inner);
    }
}

/* Is this the first item, over all tables, of its group? */
static bool first_of_group(const struct tel_conf_table *const *tables, size_t t, size_t i)
{
    struct tel_span group = group_of(tables[t]->items[i].path);
    for (size_t a = 0; a <= t; a++) {
        size_t end = a == t ? i : tables[a]->count;
        for (size_t b = 0; b < end; b++) {
            if (tel_span_eq(group_of(tables[a]->items[b].path), group))
                return false;
        }
    }
    return true;
}

void tel_conf_doc_markdown(struct tel_buf *out, const char *program,
                           const struct tel_conf_table *const *tables, size_t count)
{
    tel_buf_printf(out,
                   "# Configuration of %s\n\n"
                   "Made by `%s --print-docs config`; do not edit.\n\n"
                   "A file in libconfig's syntax is given with `--config FILE`; `-o key=value` goes over "
                   "it. A key `a.b` is `a = { b = ...; };` in a file. Sizes are written `64KiB` or "
                   "`10MB`, durations `500ms`, `5s` or `1h30m`. A string may hold `${env:NAME}` and "
                   "`${file:/path}`.\n",
                   program, program);
    add_group(out, tables, count, (struct tel_span){0});
    for (size_t t = 0; t < count; t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            struct tel_span group = group_of(tables[t]->items[i].path);
            if (group.len && first_of_group(tables, t, i))
                add_group(out, tables, count, group);
        }
    }
    for (size_t t = 0; t < count; t++)
        add_section_tables(out, tables[t]);
}

static void add_wrapped(struct tel_buf *out, const char *text)
{
    struct tel_span rest = tel_span_cstr(text);
    size_t column = 0;
    while (rest.ptr && rest.len) {
        struct tel_span word = tel_span_split(&rest, ' ');
        if (column == 0 || column + 1 + word.len > HELP_WIDTH) {
            tel_buf_printf(out, "%s%*s", column ? "\n" : "", HELP_INDENT, "");
            column = HELP_INDENT;
        } else {
            tel_buf_add_char(out, ' ');
            column++;
        }
        tel_buf_add_span(out, word);
        column += word.len;
    }
    tel_buf_add_char(out, '\n');
}

static void add_help_item(struct tel_buf *out, const struct tel_conf_item *item, const char *prefix)
{
    tel_buf_printf(out, "  %s%s  (", prefix, item->path);
    add_type(out, item);
    size_t before = out->len;
    TEL_BUF_ADD_LIT(out, "; ");
    add_range(out, item);
    if (out->len == before + 2)
        out->len = before;
    if (!item->def)
        TEL_BUF_ADD_LIT(out, "; must be set");
    else if (*item->def)
        tel_buf_printf(out, "; default %s", item->def);
    TEL_BUF_ADD_LIT(out, ")\n");
    add_wrapped(out, item->doc);
    if (item->type == TEL_CONF_SECTIONS && item->unit) {
        const struct tel_conf_table *inner = item->unit;
        struct tel_buf inner_prefix = {0};
        tel_buf_printf(&inner_prefix, "%s%s[].", prefix, item->path);
        for (size_t i = 0; i < inner->count; i++)
            add_help_item(out, &inner->items[i], tel_buf_cstr(&inner_prefix));
        tel_buf_free(&inner_prefix);
    }
}

void tel_conf_doc_help(struct tel_buf *out, const struct tel_conf_table *const *tables,
                       size_t count)
{
    for (size_t t = 0; t < count; t++) {
        for (size_t i = 0; i < tables[t]->count; i++)
            add_help_item(out, &tables[t]->items[i], "");
    }
}

/* --- a configuration in effect ------------------------------------------------------------------ */

/* A string in libconfig's syntax. */
static void add_quoted(struct tel_buf *out, const char *text)
{
    tel_buf_add_char(out, '"');
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\')
            tel_buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            tel_buf_printf(out, "\\x%02x", c);
        else
            tel_buf_add_char(out, *p);
    }
    tel_buf_add_char(out, '"');
}

/* A value from a program is text already resolved: a ${ in it must not be resolved again. */
static void add_text(struct tel_buf *out, const char *text)
{
    struct tel_buf plain = {0};
    for (const char *p = text; *p; p++) {
        if (p[0] == '$' && p[1] == '{')
            tel_buf_add_char(&plain, '$');
        tel_buf_add_char(&plain, *p);
    }
    add_quoted(out, tel_buf_cstr(&plain));
    tel_buf_free(&plain);
}

static void add_node(struct tel_buf *out, const struct tel_conf_node *node)
{
    const char *open = node->kind == TEL_NODE_GROUP ? "{ " : "( ";
    const char *close = node->kind == TEL_NODE_GROUP ? "}" : ")";
    switch (node->kind) {
    case TEL_NODE_BOOL:
        tel_buf_add_span(out, node->v.flag ? TEL_SPAN("true") : TEL_SPAN("false"));
        break;
    case TEL_NODE_INT:
        tel_buf_printf(out, "%lldL", (long long)node->v.i64);
        break;
    case TEL_NODE_DOUBLE:
        tel_buf_printf(out, "%.17g", node->v.dbl);
        break;
    case TEL_NODE_STRING:
    case TEL_NODE_TEXT:
        /* As written: a reference is shown, not what it stands for. */
        add_quoted(out, node->v.text.ptr);
        break;
    case TEL_NODE_GROUP:
    case TEL_NODE_LIST:
        tel_buf_add_span(out, tel_span_cstr(open));
        for (const struct tel_conf_node *child = node->first; child; child = child->next) {
            if (node->kind == TEL_NODE_GROUP)
                tel_buf_printf(out, "%s = ", child->key);
            add_node(out, child);
            tel_buf_add_span(out, node->kind == TEL_NODE_GROUP ? TEL_SPAN("; ")
                                  : child->next                ? TEL_SPAN(", ")
                                                               : TEL_SPAN(" "));
        }
        tel_buf_add_span(out, tel_span_cstr(close));
        break;
    }
}

static void add_strings(struct tel_buf *out, const struct tel_conf_strings *strings, bool secret)
{
    TEL_BUF_ADD_LIT(out, "[");
    for (size_t i = 0; i < strings->len; i++) {
        if (i > 0)
            TEL_BUF_ADD_LIT(out, ", ");
        if (secret)
            TEL_BUF_ADD_LIT(out, MASK);
        else
            add_text(out, strings->items[i]);
    }
    TEL_BUF_ADD_LIT(out, "]");
}

static void print_table(struct tel_buf *out, const struct tel_conf_table *table, const void *strct,
                        int indent);

static void add_sections(struct tel_buf *out, const struct tel_conf_item *item,
                         const struct tel_conf_sections *sections, int indent)
{
    const struct tel_conf_table *table = item->unit;
    TEL_BUF_ADD_LIT(out, "(");
    for (size_t i = 0; i < sections->len; i++) {
        tel_buf_printf(out, "%s\n%*s", i ? "," : "", indent + 4, "");
        if (table) {
            TEL_BUF_ADD_LIT(out, "{\n");
            print_table(out, table, (const char *)sections->structs + i * table->struct_size,
                        indent + 8);
            tel_buf_printf(out, "%*s}", indent + 4, "");
        } else {
            add_node(out, sections->nodes[i]);
        }
    }
    tel_buf_add_span(out, sections->len ? TEL_SPAN("\n") : TEL_SPAN(")"));
    if (sections->len)
        tel_buf_printf(out, "%*s)", indent, "");
}

static void add_value(struct tel_buf *out, const struct tel_conf_item *item, const void *member,
                      int indent)
{
    int64_t i64 = 0;
    switch (item->type) {
    case TEL_CONF_BOOL:
        tel_buf_add_span(out, *(const bool *)member ? TEL_SPAN("true") : TEL_SPAN("false"));
        break;
    case TEL_CONF_INT:
        i64 = *(const int64_t *)member;
        tel_buf_printf(out, "%lld%s", (long long)i64, i64 > INT32_MAX || i64 < INT32_MIN ? "L" : "");
        break;
    case TEL_CONF_DOUBLE: {
        size_t before = out->len;
        tel_buf_printf(out, "%.15g", *(const double *)member);
        if (!memchr(out->ptr + before, '.', out->len - before) &&
            !memchr(out->ptr + before, 'e', out->len - before))
            TEL_BUF_ADD_LIT(out, ".0");
        break;
    }
    case TEL_CONF_SIZE:
    case TEL_CONF_DURATION:
        tel_buf_add_char(out, '"');
        add_bound(out, item, (double)*(const int64_t *)member);
        tel_buf_add_char(out, '"');
        break;
    case TEL_CONF_STRING: {
        const char *text = *(char *const *)member;
        if (item->secret && *text)
            TEL_BUF_ADD_LIT(out, MASK);
        else
            add_text(out, text);
        break;
    }
    case TEL_CONF_STRINGS:
        add_strings(out, member, item->secret);
        break;
    case TEL_CONF_ENUM: {
        struct tel_span rest = tel_span_cstr(item->unit), name = {0};
        for (int i = 0; i <= *(const int *)member; i++)
            name = tel_span_split(&rest, '|');
        tel_buf_printf(out, "\"%.*s\"", TEL_SPAN_ARG(name));
        break;
    }
    case TEL_CONF_SECTIONS:
        add_sections(out, item, member, indent);
        break;
    }
}

/* The items below a group, `prefix` being its path with the dot. Items of one group may stand
 * anywhere in the tables: the first opens the group and prints it whole. */
struct printer {
    struct tel_buf *out;
    const struct tel_conf_target *targets;
    size_t count;
};

static bool seen_before(const struct printer *p, size_t t, size_t i, struct tel_span upto)
{
    for (size_t a = 0; a <= t; a++) {
        size_t end = a == t ? i : p->targets[a].table->count;
        for (size_t b = 0; b < end; b++) {
            if (tel_span_starts(tel_span_cstr(p->targets[a].table->items[b].path), upto))
                return true;
        }
    }
    return false;
}

static void print_group(const struct printer *p, struct tel_span prefix, int indent)
{
    for (size_t t = 0; t < p->count; t++) {
        const struct tel_conf_table *table = p->targets[t].table;
        for (size_t i = 0; i < table->count; i++) {
            const struct tel_conf_item *item = &table->items[i];
            struct tel_span path = tel_span_cstr(item->path);
            if (!tel_span_starts(path, prefix))
                continue;
            struct tel_span rest = tel_span_slice(path, prefix.len, path.len);
            struct tel_span name = tel_span_split(&rest, '.');
            if (rest.ptr) { /* a group within */
                struct tel_span inner = tel_span_slice(path, 0, prefix.len + name.len + 1);
                if (seen_before(p, t, i, inner))
                    continue;
                tel_buf_printf(p->out, "%*s%.*s = {\n", indent, "", TEL_SPAN_ARG(name));
                print_group(p, inner, indent + 4);
                tel_buf_printf(p->out, "%*s};\n", indent, "");
                continue;
            }
            tel_buf_printf(p->out, "%*s%.*s = ", indent, "", TEL_SPAN_ARG(name));
            add_value(p->out, item, (const char *)p->targets[t].out + item->offset, indent);
            TEL_BUF_ADD_LIT(p->out, ";\n");
        }
    }
}

static void print_table(struct tel_buf *out, const struct tel_conf_table *table, const void *strct,
                        int indent)
{
    /* The printer only reads through the target. */
    struct tel_conf_target target = {table, (void *)(uintptr_t)strct};
    struct printer printer = {out, &target, 1};
    print_group(&printer, (struct tel_span){0}, indent);
}

void tel_conf_print(struct tel_buf *out, const struct tel_conf_target *targets, size_t count)
{
    struct printer printer = {out, targets, count};
    print_group(&printer, (struct tel_span){0}, 0);
}

#include "cli/output.h"

#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"

#define DIM    "\033[2m"
#define CYAN   "\033[36m"
#define RED    "\033[1;31m"
#define YELLOW "\033[33m"
#define RESET  "\033[0m"

bool cli_format_parse(const char *text, enum cli_format *ret)
{
    static const char *const names[] = {"text", "json", "raw"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum cli_format)i;
            return true;
        }
    return false;
}

bool cli_output_init(struct cli_output *o, FILE *out, enum cli_format format, const char *color)
{
    *o = (struct cli_output){.out = out, .format = format};
    tel_arena_init(&o->arena, 0);
    o->flat.arena = &o->arena;
    const char *off = getenv("NO_COLOR"), *term = getenv("TERM");
    if (!color || strcmp(color, "auto") == 0)
        o->color = isatty(fileno(out)) && !(off && off[0]) && !(term && strcmp(term, "dumb") == 0);
    else if (strcmp(color, "always") == 0)
        o->color = true;
    else
        return strcmp(color, "never") == 0;
    return true;
}

void cli_output_done(struct cli_output *o)
{
    tel_vec_free(&o->flat.fields);
    tel_arena_free(&o->arena);
    tel_buf_free(&o->line);
}

static void paint(struct cli_output *o, const char *color)
{
    if (o->color)
        tel_buf_add_span(&o->line, tel_span_cstr(color));
}

/* What a message is called by people who look for trouble. */
static const char *severity_color(struct tel_span msg)
{
    static const struct {
        const char *word, *color;
    } words[] = {
        {"ERROR", RED}, {"FATAL", RED}, {"CRITICAL", RED}, {"PANIC", RED}, {"error", RED}, {"WARN", YELLOW}, {"warn", YELLOW},
    };
    struct tel_span head = tel_span_slice(msg, 0, 120);
    for (size_t i = 0; i < TEL_ARRAY_LEN(words); i++)
        if (tel_span_find(head, tel_span_cstr(words[i].word)) != (size_t)-1)
            return words[i].color;
    return NULL;
}

static void add_pair(struct cli_output *o, const struct tel_field *f)
{
    paint(o, DIM);
    tel_buf_add_escaped(&o->line, f->name, (size_t)-1);
    tel_buf_add_char(&o->line, '=');
    paint(o, RESET);
    bool plain = f->value.len > 0;
    for (size_t i = 0; i < f->value.len && plain; i++)
        plain = f->value.ptr[i] > ' ' && f->value.ptr[i] < 0x7f && f->value.ptr[i] != '"';
    if (plain) {
        tel_buf_add_span(&o->line, f->value);
        return;
    }
    /* JSON lets through what a terminal obeys: C1 controls, marks of direction. */
    struct tel_buf quoted = {0};
    tel_buf_add_json(&quoted, f->value);
    tel_buf_add_escaped(&o->line, tel_buf_span(&quoted), (size_t)-1);
    tel_buf_free(&quoted);
}

static const struct tel_field *find(const struct cli_output *o, const char *name)
{
    for (size_t i = 0; i < o->flat.fields.len; i++)
        if (tel_span_eq_cstr(o->flat.fields.items[i].name, name))
            return &o->flat.fields.items[i];
    return NULL;
}

static void separate(struct cli_output *o)
{
    if (o->line.len > 0)
        tel_buf_add_char(&o->line, ' ');
}

/* A row of patterns: "     305  <TIME> INFO ...". */
static bool pattern_row(struct cli_output *o)
{
    const struct tel_field *pattern = find(o, "pattern"), *count = find(o, "count");
    if (!pattern || !count || find(o, "_time"))
        return false;
    paint(o, CYAN);
    tel_buf_printf(&o->line, "%10.*s", TEL_SPAN_ARG(count->value));
    paint(o, RESET);
    TEL_BUF_ADD_LIT(&o->line, "  ");
    tel_buf_add_escaped(&o->line, pattern->value, (size_t)-1);
    return true;
}

static void text_row(struct cli_output *o)
{
    if (pattern_row(o))
        return;
    const struct tel_field *time = find(o, "_time"), *stream = find(o, "_stream"), *msg = find(o, "_msg");
    if (time) {
        paint(o, CYAN);
        tel_buf_add_escaped(&o->line, time->value, (size_t)-1);
        paint(o, RESET);
    }
    if (stream && stream->value.len > 2) {
        separate(o);
        paint(o, DIM);
        tel_buf_add_escaped(&o->line, stream->value, (size_t)-1);
        paint(o, RESET);
    }
    if (msg) {
        const char *color = severity_color(msg->value);
        separate(o);
        if (color)
            paint(o, color);
        tel_buf_add_escaped(&o->line, msg->value, (size_t)-1);
        if (color)
            paint(o, RESET);
    }
    for (size_t i = 0; i < o->flat.fields.len; i++) {
        const struct tel_field *f = &o->flat.fields.items[i];
        if (f == time || f == stream || f == msg || tel_span_eq_cstr(f->name, "_stream_id"))
            continue;
        /* Labels stand in the stream already. */
        struct tel_buf label = {0};
        tel_buf_add_span(&label, f->name);
        tel_buf_add_char(&label, '=');
        tel_buf_add_json(&label, f->value);
        bool shown = stream && tel_span_find(stream->value, tel_buf_span(&label)) != (size_t)-1;
        tel_buf_free(&label);
        if (shown)
            continue;
        separate(o);
        add_pair(o, f);
    }
}

bool cli_output_row(struct cli_output *o, struct tel_span row, struct tel_span *ret_error)
{
    if (row.len == 0)
        return true;
    tel_arena_reset(&o->arena);
    tel_buf_clear(&o->line);
    if (!json_flatten(&o->flat, row)) {
        *ret_error = TEL_SPAN("the server's answer is not made of JSON lines");
        return true;
    }
    const struct tel_field *f = find(o, "_error");
    if (f) {
        *ret_error = f->value;
        return true;
    }
    f = find(o, "_warning");
    if (f && o->flat.fields.len == 1) { /* not a row, and not the end either */
        tel_buf_add_escaped(&o->line, f->value, (size_t)-1);
        cli_complain("%.*s", (int)TEL_MIN(o->line.len, (size_t)900), o->line.ptr);
        return true;
    }
    if (o->format == CLI_JSON) {
        tel_buf_add_span(&o->line, row);
    } else if (o->format == CLI_RAW) {
        f = find(o, "_msg");
        tel_buf_add_span(&o->line, f ? f->value : tel_span_make(NULL, 0));
    } else {
        text_row(o);
    }
    tel_buf_add_char(&o->line, '\n');
    return fwrite(o->line.ptr, 1, o->line.len, o->out) == o->line.len;
}

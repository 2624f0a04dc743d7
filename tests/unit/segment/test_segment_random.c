/*
 * Segments against the plain evaluator: random events go into a segment and stay in memory; every
 * byte must come back, and every random query must find the same rows in both. The seed is printed
 * and can be given: test_segment_random SEED [ROUNDS].
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/map.h"
#include "common/base/vec.h"
#include "common/logsql/bucket.h"
#include "common/logsql/filter.h"
#include "common/logsql/parser.h"
#include "common/logsql/pattern.h"
#include "shard/segment/events.h"
#include "shard/segment/probe.h"
#include "shard/segment/segment.h"
#include "tests/unit/segment/segment_text.h"

static uint64_t seed;
static unsigned rounds = 12;
static unsigned long ruled_out, told_all, told_streams;
static unsigned long excerpts, shorter, asked, found_some, found_rows, grouped, grouped_rows;

struct world {
    struct tel_rand rand;
    struct tel_arena arena;
    struct segment_stream streams[6];
    size_t stream_count;
    TEL_VEC(struct segment_event) events;
    struct segment_image image;
    struct segment_reader *reader;
    struct segment_outline *outline;
    struct segment_words *words;
};

static tel_code read_section(void *ctx, uint32_t section, struct tel_span *ret,
                             struct tel_error *err)
{
    const struct segment_image *image = ctx;
    for (size_t i = 0; i < image->section_count; i++) {
        if (image->sections[i].id == section) {
            *ret = image->sections[i].bytes;
            return TEL_OK;
        }
    }
    return tel_error_set(err, TEL_ERR_NOTFOUND, "section %u", section);
}

static struct tel_span line(struct world *w)
{
    struct tel_buf buf = {0};
    segment_text_line(&w->rand, &buf);
    struct tel_span s = tel_arena_copy(&w->arena, tel_buf_span(&buf));
    tel_buf_free(&buf);
    return s;
}

static struct tel_span short_value(struct world *w)
{
    uint64_t kind = tel_rand_below(&w->rand, 10);
    if (kind == 0)
        return line(w);
    if (kind < 5)
        return segment_text_word(&w->rand);
    return tel_arena_printf(&w->arena, "%llu",
                            (unsigned long long)tel_rand_below(&w->rand, kind < 8 ? 20 : 100000));
}

static void make_streams(struct world *w)
{
    static const char *const apps[] = {"nginx", "hdfs", "", "sshd \"x\""};
    w->stream_count = 1 + tel_rand_below(&w->rand, 6);
    for (size_t i = 0; i < w->stream_count; i++) {
        struct tel_field *labels = TEL_ARENA_ARRAY(&w->arena, struct tel_field, 2);
        labels[0] = (struct tel_field){TEL_SPAN("app"), tel_span_cstr(apps[i % 4])};
        labels[1] = (struct tel_field){
            TEL_SPAN("host"), tel_arena_printf(&w->arena, "web-%u", (unsigned)i)};
        segment_stream_init(&w->streams[i], labels, (uint32_t)tel_rand_below(&w->rand, 3),
                            &w->arena);
    }
}

static void make_attributes(struct world *w, struct tel_event *e)
{
    static const char *const names[] = {"level", "user", "app", "severity", "k8s.pod", "note"};
    if (tel_rand_below(&w->rand, 3) == 0)
        return;
    struct tel_field *attributes =
        TEL_ARENA_ARRAY(&w->arena, struct tel_field, TEL_ARRAY_LEN(names));
    for (size_t i = 0; i < TEL_ARRAY_LEN(names); i++) {
        if (tel_rand_below(&w->rand, 1 + i * 4) == 0)
            attributes[e->attribute_count++] =
                (struct tel_field){tel_span_cstr(names[i]), short_value(w)};
    }
    e->attributes = attributes;
}

static void make_events(struct world *w, size_t count)
{
    int64_t time = 1767225600000000000;
    int64_t offset = 0;
    while (w->events.len < count) {
        uint32_t n = 1 + (uint32_t)tel_rand_below(&w->rand, 40);
        const struct segment_stream *stream =
            &w->streams[tel_rand_below(&w->rand, w->stream_count)];
        offset += 1 + (int64_t)tel_rand_below(&w->rand, 3);
        for (uint32_t i = 0; i < n; i++) {
            struct tel_event *e = TEL_ARENA_NEW(&w->arena, struct tel_event);
            time += (int64_t)tel_rand_below(&w->rand, 3) * (int64_t)tel_rand_below(&w->rand, 50000);
            e->timestamp_ns = time - (int64_t)tel_rand_below(&w->rand, 2) *
                                         (int64_t)tel_rand_below(&w->rand, 1000000);
            e->severity = (uint32_t)tel_rand_below(&w->rand, 3) * 8;
            e->body = line(w);
            if (tel_rand_below(&w->rand, 5) == 0)
                e->trace_id = tel_arena_printf(
                    &w->arena, "%016llx%016llx", (unsigned long long)tel_rand_u64(&w->rand),
                    (unsigned long long)tel_rand_below(&w->rand, 9));
            if (e->trace_id.len)
                e->span_id = tel_span_slice(e->trace_id, 0, 16);
            make_attributes(w, e);
            struct tel_row_key key = {e->timestamp_ns, 3, i, offset};
            tel_vec_push(&w->events, ((struct segment_event){key, stream, e}));
        }
    }
}

static int event_cmp(const void *a, const void *b)
{
    return tel_row_key_cmp(&((const struct segment_event *)a)->key,
                           &((const struct segment_event *)b)->key);
}

static void check_ok(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK)
        fail_msg("%s: %s (seed %llu)", tel_code_name(rc), err->text, (unsigned long long)seed);
}

static void same_rows(struct tel_block_source *a, struct tel_block_source *b, struct tel_span what)
{
    if (a->rows != b->rows)
        fail_msg("%zu rows instead of %zu for %.*s (seed %llu)", b->rows, a->rows,
                 TEL_SPAN_ARG(what), (unsigned long long)seed);
    for (size_t i = 0; i < a->rows; i++) {
        if (memcmp(&a->keys[i], &b->keys[i], sizeof(*a->keys)) != 0)
            fail_msg("row %zu differs for %.*s (seed %llu)", i, TEL_SPAN_ARG(what),
                     (unsigned long long)seed);
    }
}

static void same_columns(struct tel_block_source *a, struct tel_block_source *b)
{
    struct tel_error err;
    const struct tel_span *names, *other, *x, *y;
    size_t count, other_count;
    check_ok(a->ops->names(a, &names, &count, &err), &err);
    check_ok(b->ops->names(b, &other, &other_count, &err), &err);
    assert_int_equal(count, other_count);
    for (size_t k = 0; k < count; k++) {
        check_ok(a->ops->column(a, names[k], &x, &err), &err);
        check_ok(b->ops->column(b, names[k], &y, &err), &err);
        assert_non_null(x);
        assert_non_null(y);
        for (size_t i = 0; i < a->rows; i++) {
            if (!tel_span_eq(x[i], y[i]))
                fail_msg("%.*s of row %zu: \"%.*s\" instead of \"%.*s\" (seed %llu)",
                         TEL_SPAN_ARG(names[k]), i, TEL_SPAN_ARG(y[i]), TEL_SPAN_ARG(x[i]),
                         (unsigned long long)seed);
        }
    }
    check_ok(b->ops->column(b, TEL_SPAN("no such field"), &y, &err), &err);
    assert_null(y);
}

/* ---- queries ------------------------------------------------------------------------------ */

/* A piece of some event's body, as a query might name it. */
static struct tel_span piece(struct world *w)
{
    struct tel_span body = w->events.items[tel_rand_below(&w->rand, w->events.len)].event->body;
    if (body.len == 0)
        return segment_text_word(&w->rand);
    size_t from = tel_rand_below(&w->rand, body.len);
    size_t len = 1 + tel_rand_below(&w->rand, 24);
    while (tel_rand_below(&w->rand, 2) && from > 0 &&
           (unsigned char)body.ptr[from] > ' ' && (unsigned char)body.ptr[from - 1] > ' ')
        from--;
    return tel_span_slice(body, from, from + len);
}

static bool in_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '_' || c == '.';
}

/* A run of digits and letters of some event, whole or a part of it: an id, a number, a word. */
static struct tel_span token(struct world *w)
{
    struct tel_span body = w->events.items[tel_rand_below(&w->rand, w->events.len)].event->body;
    size_t at = body.len ? tel_rand_below(&w->rand, body.len) : 0, from, to;
    while (at < body.len && !(body.ptr[at] >= '0' && body.ptr[at] <= '9'))
        at++;
    if (at == body.len)
        return piece(w);
    for (from = at; from > 0 && in_token(body.ptr[from - 1]);)
        from--;
    for (to = at; to < body.len && in_token(body.ptr[to]);)
        to++;
    switch (tel_rand_below(&w->rand, 6)) {
    case 0:
        return tel_span_slice(body, from, from + 1 + tel_rand_below(&w->rand, to - from));
    case 1:
        return tel_span_slice(body, from + tel_rand_below(&w->rand, to - from), to);
    case 2: /* with what stands before it */
        while (from > 0 && at - from < 12 && (unsigned char)body.ptr[from - 1] >= ' ' &&
               !((unsigned char)body.ptr[from - 1] & 0x80))
            from--;
        return tel_span_slice(body, from, to);
    default:
        return tel_span_slice(body, from, to);
    }
}

static struct tel_span some_text(struct world *w)
{
    uint64_t kind = tel_rand_below(&w->rand, 6);
    return kind < 2 ? segment_text_word(&w->rand) : kind < 4 ? piece(w) : token(w);
}

/* What some event has in the field that the prefix of a leaf names; the like of it, if it has none. */
static struct tel_span some_value(struct world *w, const char *prefix)
{
    const struct segment_event *e = &w->events.items[tel_rand_below(&w->rand, w->events.len)];
    struct tel_span name = tel_span_make(prefix, strlen(prefix) - (*prefix != 0));
    if (tel_span_eq_cstr(name, SEGMENT_FIELD_TRACE_ID) && e->event->trace_id.len)
        return e->event->trace_id;
    for (uint32_t i = 0; i < e->event->attribute_count; i++) {
        if (tel_span_eq(e->event->attributes[i].name, name))
            return e->event->attributes[i].value;
    }
    if (tel_span_eq_cstr(name, SEGMENT_FIELD_SEVERITY))
        return segment_severity_text(e->event->severity);
    return some_text(w);
}

/* Something that matches the digit. */
static void add_class(struct world *w, struct tel_buf *re, unsigned char digit)
{
    static const char *const classes[] = {"[0-9]", "[0-9]+", "\\d{1,3}", "\\d*", ".?", "[^a-z ]{1,2}"};
    uint64_t kind = tel_rand_below(&w->rand, TEL_ARRAY_LEN(classes) + 1);
    if (kind < TEL_ARRAY_LEN(classes))
        tel_buf_printf(re, "%s", classes[kind]);
    else
        tel_buf_printf(re, "(x|%c|yz)", digit);
}

static void add_leaf(struct world *w, struct tel_buf *q)
{
    static const char *const fields[] = {"", "", "", "", "_msg:", "level:", "user:", "app:",
                                         "severity:", "host:", "trace_id:"};
    const char *field = fields[tel_rand_below(&w->rand, TEL_ARRAY_LEN(fields))];
    struct tel_span text = tel_rand_below(&w->rand, 2) ? some_text(w) : some_value(w, field);
    uint64_t kind = tel_rand_below(&w->rand, 15);
    if (kind == 13) {
        TEL_BUF_ADD_LIT(q, "{app=\"nginx\"}");
        return;
    }
    tel_buf_printf(q, "%s", field);
    if (kind == 8)
        tel_buf_add_char(q, '=');
    if (kind == 11) {
        tel_buf_printf(q, "ipv4_range(\"10.0.%llu.0/24\")",
                       (unsigned long long)tel_rand_below(&w->rand, 60));
        return;
    }
    if (kind == 12) {
        tel_buf_printf(q, "len_range(%llu, 60)", (unsigned long long)tel_rand_below(&w->rand, 60));
        return;
    }
    if (kind == 9 || kind == 10) {
        struct tel_buf re = {0};
        for (size_t i = 0; i < text.len; i++) {
            unsigned char c = (unsigned char)text.ptr[i];
            if (c >= 0x80 || c < ' ')
                tel_buf_add_char(&re, '.');
            else if (strchr("\\^$.|?*+()[]{}", c))
                tel_buf_printf(&re, "\\%c", c);
            else if (kind == 10 && i % 4 == 2 && c != ' ')
                tel_buf_add(&re, "\\S", 2);
            else if (kind == 10 && i % 4 == 3 && c >= '0' && c <= '9')
                add_class(w, &re, c);
            else
                tel_buf_add_char(&re, (char)c);
        }
        tel_buf_add_char(q, '~');
        tel_buf_add_json(q, tel_buf_span(&re));
        tel_buf_free(&re);
        return;
    }
    if (kind == 7)
        TEL_BUF_ADD_LIT(q, "i(");
    tel_buf_add_json(q, text);
    if (kind == 7)
        tel_buf_add_char(q, ')');
    if (kind >= 4 && kind < 7)
        tel_buf_add_char(q, '*');
}

static void add_filter(struct world *w, struct tel_buf *q, unsigned depth)
{
    uint64_t kind = tel_rand_below(&w->rand, depth ? 8 : 2);
    if (kind < 5) {
        if (tel_rand_below(&w->rand, 6) == 0)
            tel_buf_add_char(q, '!');
        add_leaf(w, q);
        return;
    }
    if (kind == 5)
        tel_buf_add_char(q, '!');
    tel_buf_add_char(q, '(');
    add_filter(w, q, depth - 1);
    tel_buf_printf(q, kind == 7 ? " or " : " ");
    add_filter(w, q, depth - 1);
    tel_buf_add_char(q, ')');
}

/* The events that match, by the plain evaluator. */
static struct tel_block_source *expected(struct world *w, const struct segment_query *query,
                                         struct tel_arena *arena)
{
    struct tel_error err;
    struct tel_block_source *all = segment_events_source(w->events.items, w->events.len, arena);
    uint64_t *bits = TEL_ARENA_ARRAY(arena, uint64_t, TEL_BITMAP_WORDS(w->events.len));
    for (size_t i = 0; i < w->events.len; i++) {
        if (w->events.items[i].key.time_ns >= query->start_ns &&
            w->events.items[i].key.time_ns < query->end_ns)
            bits[i / 64] |= UINT64_C(1) << (i % 64);
    }
    if (query->filter)
        check_ok(tel_filter_eval(query->filter, all, bits, &err), &err);
    struct segment_event *rows = TEL_ARENA_ARRAY(arena, struct segment_event, w->events.len);
    size_t n = 0;
    for (size_t i = 0; i < w->events.len; i++) {
        if (bits[i / 64] >> (i % 64) & 1)
            rows[n++] = w->events.items[i];
    }
    if (query->newest && n > query->newest) {
        rows += n - query->newest;
        n = query->newest;
    }
    return segment_events_source(rows, n, arena);
}

/* ---- groups ------------------------------------------------------------------------------- */

/* Counts rows by the text of their group: a source's rows, or those of a block with hits. */
static void count_groups(struct tel_map *map, const struct segment_grouping *g,
                         struct tel_block_source *src, const struct tel_block *block,
                         struct tel_arena *arena)
{
    const struct tel_span *columns[4] = {NULL};
    struct tel_error err;
    struct tel_buf key = {0};
    for (size_t k = 0; k < g->field_count; k++) {
        if (src)
            check_ok(src->ops->column(src, g->fields[k], &columns[k], &err), &err);
        else
            columns[k] = tel_block_values(block, g->fields[k], arena);
    }
    const struct tel_row_key *keys = src ? src->keys : block->keys;
    for (size_t i = 0; i < (src ? src->rows : block->rows); i++) {
        tel_buf_clear(&key);
        for (size_t k = 0; k < g->field_count; k++) {
            struct tel_span v = columns[k] ? columns[k][i] : TEL_SPAN("");
            tel_buf_printf(&key, "%zu:", v.len);
            tel_buf_add_span(&key, v);
        }
        if (g->bucket)
            tel_buf_printf(&key, "%lld", (long long)tel_bucket_time(g->bucket, keys[i].time_ns));
        *tel_map_put(map, tel_buf_span(&key), NULL) += src ? 1 : tel_block_hits(block, i);
    }
    tel_buf_free(&key);
}

static void random_groups(struct world *w, const struct segment_query *query,
                          struct tel_span text, struct tel_arena *arena)
{
    static const char *const names[] = {"level",   "user",     "app",     "severity", "host",
                                        "k8s.pod", "trace_id", "_stream", "_stream_id", "nothing"};
    static const char *const steps[] = {"1ms", "10ms", "7ms", "1s", "1us"};
    struct tel_span fields[3];
    struct tel_bucket bucket = {0};
    struct segment_grouping g = {fields, tel_rand_below(&w->rand, 4), NULL};
    for (size_t k = 0; k < g.field_count; k++)
        fields[k] = tel_span_cstr(names[tel_rand_below(&w->rand, TEL_ARRAY_LEN(names))]);
    if (tel_rand_below(&w->rand, 2)) {
        assert_true(tel_bucket_set_step(
            &bucket, tel_span_cstr(steps[tel_rand_below(&w->rand, TEL_ARRAY_LEN(steps))])));
        bucket.given = true;
        g.bucket = &bucket;
    }
    struct tel_error err;
    struct segment_counters counters = {0};
    struct tel_block block;
    struct tel_block_source *src, *rows = expected(w, query, arena);
    struct tel_map want = {0}, got = {0};
    check_ok(segment_group(w->reader, query, &g, arena, &block, &src, &counters, &err), &err);
    count_groups(&want, &g, rows, NULL, arena);
    count_groups(&got, &g, src, &block, arena);
    assert_int_equal(counters.rows_matched, rows->rows);
    grouped += src == NULL;
    grouped_rows += src ? 0 : rows->rows;
    struct tel_map_slot *slot;
    for (size_t at = 0; (slot = tel_map_next(&want, &at));) {
        const uint64_t *n = tel_map_get(&got, slot->key);
        if (!n || *n != slot->value)
            fail_msg("%llu rows instead of %llu in the group %.*s of %.*s (seed %llu)",
                     n ? (unsigned long long)*n : 0, (unsigned long long)slot->value,
                     TEL_SPAN_ARG(slot->key), TEL_SPAN_ARG(text), (unsigned long long)seed);
    }
    assert_int_equal(got.len, want.len);
    tel_map_free(&want);
    tel_map_free(&got);
}

/* ---- excerpts, and rows in any order ------------------------------------------------------------ */

/* A pattern whose texts are mostly pieces of some event's body, in its order. */
static void random_pattern(struct world *w, struct tel_arena *arena, struct tel_pattern *ret)
{
    struct tel_span body = w->events.items[tel_rand_below(&w->rand, w->events.len)].event->body;
    size_t at = 0, count = 1 + tel_rand_below(&w->rand, 4);
    *ret = (struct tel_pattern){TEL_ARENA_ARRAY(arena, struct tel_pattern_step, count), count};
    for (size_t i = 0; i < count; i++) {
        struct tel_pattern_step *step = &ret->steps[i];
        size_t from = at + tel_rand_below(&w->rand, 20);
        from = from < body.len ? from : body.len;
        at = from + 1 + tel_rand_below(&w->rand, 8);
        at = at < body.len ? at : body.len;
        step->prefix = tel_span_slice(body, from, at);
        if (step->prefix.len == 0 && i > 0)
            step->prefix = some_text(w);
        if (i == 0 && tel_rand_below(&w->rand, 6) == 0)
            step->prefix = TEL_SPAN("");
        step->has_field = i + 1 < count || tel_rand_below(&w->rand, 2) || count == 1;
        step->field = TEL_SPAN("x");
        step->option = tel_rand_below(&w->rand, 3) ? TEL_SPAN("") : TEL_SPAN("plain");
    }
}

/* A row as text: what the pattern makes of its body (all of that, without one), and other fields. */
static struct tel_span row_text(struct tel_block_source *src, const struct tel_span *const *columns,
                                const struct tel_pattern *pattern, size_t row,
                                struct tel_arena *arena)
{
    struct tel_buf text = {0};
    struct tel_span values[8], body = columns[0] ? columns[0][row] : TEL_SPAN("");
    if (!pattern)
        values[0] = body;
    else
        tel_pattern_match(pattern, body, arena, values);
    for (size_t i = 0; i < (pattern ? pattern->count : 1); i++)
        tel_buf_printf(&text, "%zu:%.*s ", values[i].len, TEL_SPAN_ARG(values[i]));
    for (size_t c = 1; c < 6; c++) {
        struct tel_span v = columns[c] ? columns[c][row] : TEL_SPAN("");
        tel_buf_printf(&text, "%zu:%.*s ", v.len, TEL_SPAN_ARG(v));
    }
    if (src->keys)
        tel_buf_printf(&text, "%lld", (long long)src->keys[row].time_ns);
    struct tel_span ret = tel_arena_copy(arena, tel_buf_span(&text));
    tel_buf_free(&text);
    return ret;
}

static int text_cmp(const void *a, const void *b)
{
    return tel_span_cmp(*(const struct tel_span *)a, *(const struct tel_span *)b);
}

static struct tel_span *row_texts(struct tel_block_source *src, const struct tel_pattern *pattern,
                                  bool sorted, struct tel_arena *arena)
{
    static const char *const names[] = {"_msg", "level", "host", "severity", "_stream", "trace_id"};
    const struct tel_span *columns[6];
    struct tel_error err;
    struct tel_span *texts = TEL_ARENA_ARRAY(arena, struct tel_span, src->rows + 1);
    for (size_t c = 0; c < TEL_ARRAY_LEN(names); c++)
        check_ok(src->ops->column(src, tel_span_cstr(names[c]), &columns[c], &err), &err);
    for (size_t i = 0; i < src->rows; i++)
        texts[i] = row_text(src, columns, pattern, i, arena);
    if (sorted && src->rows)
        qsort(texts, src->rows, sizeof(*texts), text_cmp);
    return texts;
}

static void random_excerpt(struct world *w, struct segment_query query, struct tel_span what,
                           struct tel_arena *arena)
{
    struct tel_pattern pattern;
    struct tel_error err;
    struct segment_counters counters = {0};
    struct tel_block_source *want = expected(w, &query, arena), *got;
    random_pattern(w, arena, &pattern);
    query.excerpt = tel_rand_below(&w->rand, 4) ? &pattern : NULL;
    query.any_order = tel_rand_below(&w->rand, 2);
    check_ok(segment_select(w->reader, &query, arena, &got, &counters, &err), &err);
    if (want->rows != got->rows)
        fail_msg("%zu rows instead of %zu for %.*s (seed %llu)", got->rows, want->rows,
                 TEL_SPAN_ARG(what), (unsigned long long)seed);
    want->keys = got->keys ? want->keys : NULL;
    struct tel_span *a = row_texts(want, query.excerpt, !got->keys, arena);
    struct tel_span *b = row_texts(got, query.excerpt, !got->keys, arena);
    for (size_t i = 0; i < want->rows; i++) {
        if (!tel_span_eq(a[i], b[i]))
            fail_msg("row %zu of an excerpt of %.*s: \"%.*s\" instead of \"%.*s\" (seed %llu)", i,
                     TEL_SPAN_ARG(what), TEL_SPAN_ARG(b[i]), TEL_SPAN_ARG(a[i]),
                     (unsigned long long)seed);
    }
    if (!query.excerpt || want->rows < 2)
        return;
    struct tel_block_source *whole;
    const struct tel_span *long_ones, *short_ones;
    query.excerpt = NULL;
    check_ok(segment_select(w->reader, &query, arena, &whole, &counters, &err), &err);
    check_ok(whole->ops->column(whole, TEL_SPAN("_msg"), &long_ones, &err), &err);
    check_ok(got->ops->column(got, TEL_SPAN("_msg"), &short_ones, &err), &err);
    for (size_t i = 0; i < want->rows && long_ones; i++) {
        excerpts++;
        shorter += !short_ones || short_ones[i].len < long_ones[i].len;
    }
}

/* ---- outlines ----------------------------------------------------------------------------- */

/* What the outline says of a filter, against the rows that match it: never "none" of a segment that has
 * one, never "all" of one that has another. */
static void check_probe(struct world *w, const struct tel_filter *filter, uint64_t rows,
                        struct tel_span text, struct tel_arena *arena)
{
    struct segment_probe *probe = segment_probe_new(filter, arena);
    bool *matches = TEL_ARENA_ARRAY(arena, bool, w->outline->stream_count + 1);
    for (unsigned i = 0; i < 3; i++) { /* without words, with them, and as remembered */
        enum probe_verdict v = segment_probe_test(probe, w->outline, i ? w->words : NULL);
        if ((v == PROBE_NONE && rows) || (v == PROBE_ALL && rows != w->events.len))
            fail_msg("the outline says %s of %.*s, which %llu of %zu rows match (seed %llu)",
                     v == PROBE_NONE ? "none" : "all", TEL_SPAN_ARG(text), (unsigned long long)rows,
                     w->events.len, (unsigned long long)seed);
        ruled_out += v == PROBE_NONE;
        told_all += v == PROBE_ALL;
    }
    if (!segment_probe_streams(probe, w->outline, matches))
        return;
    uint64_t count = 0;
    for (uint32_t i = 0; i < w->outline->stream_count; i++)
        count += matches[i] ? w->outline->stream_rows[i] : 0;
    if (count != rows)
        fail_msg("the outline counts %llu rows instead of %llu of %.*s (seed %llu)",
                 (unsigned long long)count, (unsigned long long)rows, TEL_SPAN_ARG(text),
                 (unsigned long long)seed);
    told_streams++;
}

static void random_query(struct world *w)
{
    struct tel_arena arena;
    struct tel_error err;
    struct tel_buf text = {0};
    struct tel_query *tree;
    struct segment_counters counters = {0};
    tel_arena_init(&arena, 0);
    add_filter(w, &text, 2);
    struct tel_parse_options options = {.filter_only = true};
    tel_code rc = tel_query_parse(tel_buf_span(&text), 0, &options, &arena, &tree, &err);
    if (rc != TEL_OK) { /* control bytes and the like are not for the parser */
        tel_buf_free(&text);
        tel_arena_free(&arena);
        return;
    }
    struct segment_query query = {.filter = tree->filter, .start_ns = INT64_MIN, .end_ns = INT64_MAX};
    if (tel_rand_below(&w->rand, 3) == 0) {
        query.start_ns = w->events.items[tel_rand_below(&w->rand, w->events.len)].key.time_ns;
        query.end_ns = query.start_ns + (int64_t)tel_rand_below(&w->rand, 100000000);
    }
    query.newest = tel_rand_below(&w->rand, 2) * tel_rand_below(&w->rand, 20);
    struct tel_block_source *want = expected(w, &query, &arena), *got;
    check_ok(segment_select(w->reader, &query, &arena, &got, &counters, &err), &err);
    same_rows(want, got, tel_buf_span(&text));
    asked++;
    found_some += want->rows > 0 && want->rows < w->events.len;
    found_rows += want->rows;
    if (tel_rand_below(&w->rand, 10) == 0)
        same_columns(want, got);
    random_excerpt(w, query, tel_buf_span(&text), &arena);
    query.newest = 0;
    uint64_t count;
    want = expected(w, &query, &arena);
    check_ok(segment_count(w->reader, &query, &count, &counters, &err), &err);
    if (count != want->rows)
        fail_msg("count %llu instead of %zu for %.*s (seed %llu)", (unsigned long long)count,
                 want->rows, TEL_SPAN_ARG(tel_buf_span(&text)), (unsigned long long)seed);
    random_groups(w, &query, tel_buf_span(&text), &arena);
    struct segment_query whole = {.filter = query.filter, .start_ns = INT64_MIN, .end_ns = INT64_MAX};
    check_probe(w, query.filter, expected(w, &whole, &arena)->rows, tel_buf_span(&text), &arena);
    query.filter = NULL;
    random_groups(w, &query, TEL_SPAN("*"), &arena);
    tel_query_done(tree);
    tel_buf_free(&text);
    tel_arena_free(&arena);
}

static void one_round(struct world *w, struct segment_builder *b, struct stream_table *table,
                      size_t count, unsigned queries)
{
    struct tel_error err;
    struct segment_reader *head;
    tel_arena_init(&w->arena, 0);
    make_streams(w);
    make_events(w, count);
    for (size_t i = 0; i < w->events.len; i++) {
        const struct segment_event *e = &w->events.items[i];
        uint32_t stream =
            segment_builder_stream(b, e->stream->labels, e->stream->label_count);
        segment_builder_add(b, &e->key, stream, e->event);
    }
    check_ok(segment_builder_finish(b, 1, &w->image, &err), &err);
    assert_int_equal(w->image.rows, w->events.len);
    qsort(w->events.items, w->events.len, sizeof(*w->events.items), event_cmp);
    struct segment_io io = {&w->image, read_section};
    check_ok(segment_reader_open(&io, &w->reader, &err), &err);
    assert_int_equal(segment_reader_info(w->reader)->rows, w->events.len);
    struct segment_query all = {.start_ns = INT64_MIN, .end_ns = INT64_MAX};
    struct segment_counters counters = {0};
    struct tel_block_source *got;
    struct tel_arena arena;
    tel_arena_init(&arena, 0);
    check_ok(segment_select(w->reader, &all, &arena, &got, &counters, &err), &err);
    struct tel_block_source *want = segment_events_source(w->events.items, w->events.len, &arena);
    same_rows(want, got, TEL_SPAN("*"));
    same_columns(want, got);
    tel_arena_free(&arena);
    check_ok(segment_reader_begin(&io, &head, &err), &err);
    check_ok(segment_outline_make(head, table, &w->outline, &err), &err);
    check_ok(segment_words_copy(head, &w->words, &err), &err);
    segment_reader_close(head);
    for (unsigned i = 0; i < queries; i++)
        random_query(w);
    segment_outline_free(w->outline);
    free(w->words);
    segment_reader_close(w->reader);
    segment_builder_reset(b);
    tel_vec_free(&w->events);
    tel_arena_free(&w->arena);
}

static void test_random(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 7, 100, 500, 3000, 6000};
    struct segment_learnt *learnt = segment_learnt_new();
    struct segment_builder *b = segment_builder_new(learnt);
    struct stream_table *table = stream_table_new();
    struct world w = {0};
    tel_rand_init(&w.rand, seed);
    for (unsigned i = 0; i < rounds; i++)
        one_round(&w, b, table, sizes[i % TEL_ARRAY_LEN(sizes)], 60);
    segment_builder_free(b);
    segment_learnt_free(learnt);
    assert_int_equal(stream_table_bytes(table), 0); /* every entry was given back */
    stream_table_free(table);
    print_message("%lu times an outline said none, %lu all; %lu counts by streams\n", ruled_out,
                  told_all, told_streams);
    assert_true(ruled_out > asked / 4 && told_streams > 0);
    print_message("%lu queries, %lu found some rows but not all, %lu rows\n", asked, found_some,
                  found_rows);
    print_message("%lu excerpts of rows, %lu of them shorter\n", excerpts, shorter);
    print_message("%lu groupings without rows, of %lu rows\n", grouped, grouped_rows);
    assert_true(found_some * 4 > asked); /* else the queries are no test */
    assert_true(grouped * 4 > asked);
    assert_true(shorter * 20 > excerpts);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : tel_rand_seed() % 1000000;
    if (argc > 2)
        rounds = (unsigned)strtoul(argv[2], NULL, 10);
    print_message("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

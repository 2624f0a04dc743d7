#include "shard/query/tally.h"

#include "common/base/buf.h"

void tally_init(struct tally *t, const struct tel_span *fields, size_t field_count)
{
    memset(t, 0, sizeof(*t));
    t->fields = fields;
    t->field_count = field_count;
    tel_arena_init(&t->arena, 0);
    tel_map_init(&t->map);
}

void tally_done(struct tally *t)
{
    tel_arena_free(&t->arena);
    tel_map_free(&t->map);
    tel_vec_free(&t->groups);
    tel_vec_free(&t->known);
}

void tally_clear(struct tally *t)
{
    tel_arena_reset(&t->arena);
    tel_map_clear(&t->map);
    tel_vec_clear(&t->groups);
    tel_vec_clear(&t->known);
    t->rows = 0;
}

static size_t find_group(struct tally *t, const struct segment_stream *stream)
{
    struct tel_buf key = {0};
    bool is_new;
    for (size_t i = 0; i < t->field_count; i++) {
        struct tel_span value = segment_stream_field(stream, t->fields[i]);
        tel_buf_add_le32(&key, (uint32_t)value.len);
        tel_buf_add_span(&key, value);
    }
    uint64_t *group = tel_map_put(&t->map, tel_buf_span(&key), &is_new);
    if (is_new) {
        struct tally_group g = {0, TEL_ARENA_ARRAY(&t->arena, struct tel_span, t->field_count + 1)};
        for (size_t i = 0; i < t->field_count; i++)
            g.values[i] = tel_arena_copy(&t->arena, segment_stream_field(stream, t->fields[i]));
        *group = t->groups.len;
        tel_vec_push(&t->groups, g);
    }
    tel_buf_free(&key);
    return (size_t)*group;
}

void tally_add(struct tally *t, const struct stream_entry *stream, uint64_t rows)
{
    if (t->field_count == 0) {
        t->rows += rows;
        return;
    }
    size_t n = stream->number;
    if (n >= t->known.len) {
        tel_vec_reserve(&t->known, n + 1);
        memset(t->known.items + t->known.len, 0,
               (t->known.cap - t->known.len) * sizeof(*t->known.items));
        t->known.len = t->known.cap;
    }
    struct tally_known *k = &t->known.items[n];
    if (k->serial != stream->serial)
        *k = (struct tally_known){stream->serial, find_group(t, &stream->stream)};
    t->groups.items[k->group].rows += rows;
}

void tally_block(struct tally *t, struct tel_block *ret)
{
    size_t n = t->field_count, rows = t->groups.len;
    if (n == 0) {
        *ret = (struct tel_block){.rows = t->rows > 0, .hits = &t->rows};
        return;
    }
    uint64_t *hits = tel_arena_alloc(&t->arena, (rows + 1) * sizeof(*hits));
    struct tel_column *columns = TEL_ARENA_ARRAY(&t->arena, struct tel_column, n);
    for (size_t k = 0; k < n; k++) {
        struct tel_span *values = tel_arena_alloc(&t->arena, (rows + 1) * sizeof(*values));
        for (size_t i = 0; i < rows; i++)
            values[i] = t->groups.items[i].values[k];
        columns[k] = (struct tel_column){t->fields[k], values};
    }
    for (size_t i = 0; i < rows; i++)
        hits[i] = t->groups.items[i].rows;
    *ret = (struct tel_block){.rows = rows, .column_count = n, .columns = columns, .hits = hits};
}

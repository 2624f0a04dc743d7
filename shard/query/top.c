#include "shard/query/top.h"

#include <stdlib.h>

#include "common/base/map.h"
#include "common/record/batch.h"

#define SLACK_ROWS 512u

void top_init(struct top *top, size_t max, uint64_t memory_limit)
{
    memset(top, 0, sizeof(*top));
    top->max = max;
    top->memory_limit = memory_limit;
    tel_arena_init(&top->arena, 0);
}

void top_done(struct top *top)
{
    tel_arena_free(&top->arena);
    tel_vec_free(&top->rows);
}

static int newest_first(const void *a, const void *b)
{
    return tel_row_key_cmp(&((const struct top_row *)b)->key, &((const struct top_row *)a)->key);
}

static struct top_row copy_row(struct tel_arena *arena, const struct top_row *row,
                               uint64_t *bytes)
{
    struct tel_field *fields = tel_arena_alloc(arena, row->count * sizeof(*fields));
    for (uint32_t i = 0; i < row->count; i++) {
        fields[i].name = tel_arena_copy(arena, row->fields[i].name);
        fields[i].value = tel_arena_copy(arena, row->fields[i].value);
        *bytes += sizeof(*fields) + row->fields[i].name.len + row->fields[i].value.len + 2;
    }
    struct top_row copy = *row;
    copy.fields = fields;
    return copy;
}

/* Leaves the newest max rows, and moves them if most of the arena is waste. */
static void prune(struct top *top)
{
    if (top->rows.len > 1)
        qsort(top->rows.items, top->rows.len, sizeof(*top->rows.items), newest_first);
    if (top->rows.len >= top->max) {
        top->rows.len = top->max;
        top->full = true;
        top->oldest = top->rows.items[top->max - 1].key;
    }
    struct tel_arena fresh;
    tel_arena_init(&fresh, 0);
    top->live_bytes = 0;
    for (size_t i = 0; i < top->rows.len; i++)
        top->rows.items[i] = copy_row(&fresh, &top->rows.items[i], &top->live_bytes);
    tel_arena_free(&top->arena);
    top->arena = fresh;
}

static void add_row(struct top *top, const struct tel_block *block, size_t row)
{
    struct tel_field *fields =
        tel_arena_alloc(&top->arena, block->column_count * sizeof(*fields));
    struct top_row r = {.key = block->keys[row], .fields = fields};
    for (size_t c = 0; c < block->column_count; c++) {
        if (!block->columns[c].values) {
            r.timed = true;
            continue;
        }
        struct tel_span v = block->columns[c].values[row];
        if (v.len == 0)
            continue;
        fields[r.count++] = (struct tel_field){tel_arena_copy(&top->arena, block->columns[c].name),
                                               tel_arena_copy(&top->arena, v)};
    }
    tel_vec_push(&top->rows, r);
}

tel_code top_push(struct top *top, const struct tel_block *block, struct tel_error *err)
{
    TEL_CHECK(block->keys || block->rows == 0);
    for (size_t row = block->rows; row-- > 0;) {
        if (top->full && tel_row_key_cmp(&block->keys[row], &top->oldest) <= 0)
            continue;
        add_row(top, block, row);
        if (top->rows.len >= top->max + TEL_MAX(top->max, SLACK_ROWS))
            prune(top);
        else if (top->arena.bytes > top->memory_limit) {
            prune(top);
            if (top->arena.bytes > top->memory_limit / 2)
                return tel_error_set(err, TEL_ERR_LIMIT,
                                     "the newest %zu rows need more than %llu MiB of memory",
                                     top->max,
                                     (unsigned long long)(top->memory_limit >> 20));
        }
    }
    if (!top->full && top->rows.len >= top->max)
        prune(top);
    return TEL_OK;
}

int64_t top_floor_ns(const struct top *top)
{
    return top->full ? top->oldest.time_ns : INT64_MIN;
}

void top_finish(struct top *top)
{
    prune(top);
}

bool top_next(const struct top *top, size_t *at, size_t max, struct tel_arena *arena,
              struct tel_block *ret)
{
    size_t rows = TEL_MIN(top->rows.len - *at, max);
    if (rows == 0)
        return false;
    struct tel_map names;
    tel_map_init(&names);
    TEL_VEC(struct tel_column) columns = {0};
    struct tel_row_key *keys = tel_arena_alloc(arena, rows * sizeof(*keys));
    bool timed = false;
    for (size_t i = 0; i < rows; i++) {
        const struct top_row *r = &top->rows.items[*at + i];
        keys[i] = r->key;
        timed = timed || r->timed;
        for (uint32_t f = 0; f < r->count; f++) {
            bool is_new;
            uint64_t *index = tel_map_put(&names, r->fields[f].name, &is_new);
            if (is_new) {
                *index = columns.len;
                tel_vec_push(&columns,
                             ((struct tel_column){r->fields[f].name,
                                                  TEL_ARENA_ARRAY(arena, struct tel_span, rows)}));
            }
            struct tel_span *values = (struct tel_span *)(uintptr_t)columns.items[*index].values;
            values[i] = r->fields[f].value;
        }
    }
    if (timed)
        tel_vec_push(&columns, ((struct tel_column){TEL_SPAN(TEL_FIELD_TIME), NULL}));
    struct tel_column *copy = tel_arena_alloc(arena, columns.len * sizeof(*copy));
    if (columns.len)
        memcpy(copy, columns.items, columns.len * sizeof(*copy));
    *ret = (struct tel_block){
        .rows = rows, .keys = keys, .column_count = columns.len, .columns = copy};
    tel_vec_free(&columns);
    tel_map_free(&names);
    *at += rows;
    return true;
}

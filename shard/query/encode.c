#include "shard/query/encode.h"

#include "common/base/mem.h"

#define ROWS_MAX  16384u
#define BYTES_MAX (2u << 20)

/* How many rows from `at` on make a message of a moderate size. */
static size_t fit_rows(const struct tel_block *block, size_t at)
{
    size_t bytes = 0, rows = 0;
    while (at + rows < block->rows && rows < ROWS_MAX && bytes < BYTES_MAX) {
        for (size_t c = 0; c < block->column_count; c++)
            if (block->columns[c].values)
                bytes += block->columns[c].values[at + rows].len + 1;
        bytes += 16;
        rows++;
    }
    return rows;
}

static void encode_keys(const struct tel_row_key *keys, size_t rows,
                        Telescope__Shard__V1__RowBatch *b)
{
    b->n_times_ns = b->n_partitions = b->n_offsets = b->n_indexes = rows;
    b->times_ns = tel_malloc(rows * sizeof(*b->times_ns));
    b->partitions = tel_malloc(rows * sizeof(*b->partitions));
    b->offsets = tel_malloc(rows * sizeof(*b->offsets));
    b->indexes = tel_malloc(rows * sizeof(*b->indexes));
    for (size_t i = 0; i < rows; i++) {
        b->times_ns[i] = keys[i].time_ns;
        b->partitions[i] = keys[i].partition;
        b->offsets[i] = keys[i].offset;
        b->indexes[i] = keys[i].index;
    }
}

/* NULL when no row has a value. */
static Telescope__Shard__V1__Column *encode_column(const struct tel_column *column, size_t at,
                                                   size_t rows)
{
    size_t bytes = 0;
    for (size_t i = 0; column->values && i < rows; i++)
        bytes += column->values[at + i].len;
    if (column->values && bytes == 0)
        return NULL;
    Telescope__Shard__V1__Column *c = tel_malloc(sizeof(*c));
    telescope__shard__v1__column__init(c);
    c->name = tel_strndup(column->name);
    if (!column->values)
        return c; /* _time: its values are the keys' */
    c->n_lengths = rows;
    c->lengths = tel_malloc(rows * sizeof(*c->lengths));
    c->data.len = bytes;
    c->data.data = tel_malloc(bytes);
    uint8_t *out = c->data.data;
    for (size_t i = 0; i < rows; i++) {
        struct tel_span v = column->values[at + i];
        c->lengths[i] = (uint32_t)v.len;
        if (v.len)
            memcpy(out, v.ptr, v.len);
        out += v.len;
    }
    return c;
}

Telescope__Shard__V1__RowBatch *encode_rows(const struct tel_block *block, size_t *at)
{
    size_t rows = fit_rows(block, *at);
    Telescope__Shard__V1__RowBatch *b = tel_malloc(sizeof(*b));
    telescope__shard__v1__row_batch__init(b);
    b->rows = (uint32_t)rows;
    if (block->keys)
        encode_keys(block->keys + *at, rows, b);
    b->columns = tel_malloc((block->column_count + 1) * sizeof(*b->columns));
    for (size_t i = 0; i < block->column_count; i++) {
        Telescope__Shard__V1__Column *c = encode_column(&block->columns[i], *at, rows);
        if (c)
            b->columns[b->n_columns++] = c;
    }
    *at += rows;
    return b;
}

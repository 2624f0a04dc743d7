#include "router/rows.h"

#include <stdlib.h>

#include "common/base/mem.h"

#define ROWS_MAX    (1u << 20)
#define COLUMNS_MAX 100000u

static tel_code column_open(struct rows *r, size_t i, struct tel_column *out, struct tel_error *err)
{
    const Telescope__Shard__V1__Column *c = r->batch->columns[i];
    size_t n = r->batch->rows;
    if (c->n_lengths == 0 && c->data.len == 0 && r->block.keys &&
        strcmp(c->name, TEL_FIELD_TIME) == 0) {
        *out = (struct tel_column){.name = TEL_SPAN(TEL_FIELD_TIME)};
        return TEL_OK;
    }
    if (c->n_lengths != n)
        return tel_error_set(err, TEL_ERR_CORRUPT, "column %s has %zu values for %zu rows", c->name,
                             c->n_lengths, n);
    struct tel_span *values = TEL_ARENA_ARRAY(&r->arena, struct tel_span, n);
    const char *data = c->data.data ? (const char *)c->data.data : "";
    size_t at = 0;
    for (size_t k = 0; k < n; k++) {
        if (c->lengths[k] > c->data.len - at)
            return tel_error_set(err, TEL_ERR_CORRUPT, "column %s is longer than its data",
                                 c->name);
        values[k] = tel_span_make(data + at, c->lengths[k]);
        at += c->lengths[k];
    }
    if (at != c->data.len)
        return tel_error_set(err, TEL_ERR_CORRUPT, "column %s has bytes that belong to no value",
                             c->name);
    *out = (struct tel_column){.name = tel_span_cstr(c->name), .values = values};
    r->bytes += c->data.len + n * (sizeof(*values) + sizeof(*c->lengths));
    return TEL_OK;
}

static tel_code keys_open(struct rows *r, struct tel_error *err)
{
    const Telescope__Shard__V1__RowBatch *b = r->batch;
    if (b->n_times_ns == 0 && b->n_partitions == 0 && b->n_offsets == 0 && b->n_indexes == 0)
        return TEL_OK;
    if (b->n_times_ns != b->rows || b->n_partitions != b->rows || b->n_offsets != b->rows ||
        b->n_indexes != b->rows)
        return tel_error_set(err, TEL_ERR_CORRUPT, "rows and their keys differ in number");
    struct tel_row_key *keys = TEL_ARENA_ARRAY(&r->arena, struct tel_row_key, b->rows);
    for (size_t i = 0; i < b->rows; i++)
        keys[i] = (struct tel_row_key){.time_ns = b->times_ns[i],
                                       .partition = b->partitions[i],
                                       .index = b->indexes[i],
                                       .offset = b->offsets[i]};
    r->block.keys = keys;
    r->bytes += b->rows * 2 * sizeof(*keys);
    return TEL_OK;
}

tel_code rows_open(Telescope__Shard__V1__RowBatch *batch, struct rows **ret, struct tel_error *err)
{
    struct rows *r = TEL_NEW(struct rows);
    r->batch = batch;
    r->bytes = sizeof(*r);
    tel_code rc = TEL_OK;
    if (batch->rows > ROWS_MAX || batch->n_columns > COLUMNS_MAX)
        rc = tel_error_set(err, TEL_ERR_CORRUPT, "a batch of %u rows and %zu columns", batch->rows,
                           batch->n_columns);
    if (rc == TEL_OK)
        rc = keys_open(r, err);
    struct tel_column *columns = NULL;
    if (rc == TEL_OK)
        columns = TEL_ARENA_ARRAY(&r->arena, struct tel_column, batch->n_columns);
    for (size_t i = 0; i < batch->n_columns && rc == TEL_OK; i++)
        rc = column_open(r, i, &columns[i], err);
    if (rc != TEL_OK) {
        rows_free(r);
        return rc;
    }
    r->block.rows = batch->rows;
    r->block.column_count = batch->n_columns;
    r->block.columns = columns;
    *ret = r;
    return TEL_OK;
}

void rows_free(struct rows *rows)
{
    if (!rows)
        return;
    protobuf_c_message_free_unpacked(&rows->batch->base, NULL);
    tel_arena_free(&rows->arena);
    free(rows);
}

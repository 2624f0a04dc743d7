/*
 * A batch of rows as a shard sends it, opened: checked against what it claims about itself, and its
 * columns cut into spans that point into the message. Freed with rows_free.
 */
#ifndef ROUTER_ROWS_H
#define ROUTER_ROWS_H

#include "common/logsql/block.h"
#include "schemas/shard.pb-c.h"

struct rows {
    struct tel_block block; /* keys NULL if the rows are no events */
    size_t bytes;           /* held, about */
    size_t next;            /* rows before it have been taken, by whoever merges */
    Telescope__Shard__V1__RowBatch *batch;
    struct tel_arena arena;
};

/* Takes batch over, on failure too. TEL_ERR_CORRUPT if it is not what it says. */
TEL_MUST_USE tel_code rows_open(Telescope__Shard__V1__RowBatch *batch, struct rows **ret,
                                struct tel_error *err);
void rows_free(struct rows *rows); /* NULL is fine */

#endif

/* Rows as JSON lines: one object a row, every value a string, empty fields left out, rows whose
 * fields are all empty not shown. */
#ifndef ROUTER_JSON_H
#define ROUTER_JSON_H

#include "common/base/buf.h"
#include "common/logsql/block.h"

/* Appends the rows of a block; returns how many were shown. */
size_t json_add_block(struct tel_buf *out, const struct tel_block *block);

#endif

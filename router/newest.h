/*
 * The newest N rows of several sources that each come newest first, shown oldest first: what a
 * query with a limit and nothing that orders answers with. A k-way merge by (time, partition,
 * offset, index), which ends as soon as N rows are found.
 */
#ifndef ROUTER_NEWEST_H
#define ROUTER_NEWEST_H

#include "router/fanout.h"

struct newest;

/* The newest `limit` rows behind the newest `offset`, to be shown oldest first, or newest first.
 * Rows are held up to memory_max bytes. */
/* What is held, in bytes. */
size_t newest_bytes(const struct newest *n);
struct newest *newest_new(uint64_t limit, uint64_t offset, bool newest_first, size_t memory_max);
void newest_free(struct newest *n); /* NULL is fine */

/* Takes what can be taken from the fanout. *ret_full: there is nothing more to find.
 * TEL_ERR_CORRUPT if a source is out of order, TEL_ERR_LIMIT if the rows need too much memory. */
TEL_MUST_USE tel_code newest_take(struct newest *n, struct fanout *f, bool *ret_full,
                                  struct tel_error *err);

/* When all is taken and more is not wanted: throws away what the fanout has. */
void newest_drop(struct fanout *f);

/* When all is taken: the next rows, in the order asked for, as a block that is valid until the next call.
 * False: no more. */
bool newest_next(struct newest *n, struct tel_block *ret);
/* The key of the oldest row, if there are as many as asked for: there may be more behind it. */
bool newest_last_key(const struct newest *n, struct tel_row_key *ret);

#endif

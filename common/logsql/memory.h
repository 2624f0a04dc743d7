/*
 * The memory that all queries of a process may hold together. Each query has an account, and is
 * bounded by itself as well (tel_exec.memory_limit); what it keeps beyond a little is taken from the
 * pool in pieces. When the pool has no more, the query that holds most is refused: it is told at the
 * next thing it does (tel_exec_charge, tel_chain_push), and whoever needs the memory waits for it
 * that long. So ten large queries cost the largest of them, not the machine, and a small one neither
 * waits nor fails: it takes nothing from the pool.
 *
 * Any thread. An account may be charged by several threads.
 */
#ifndef TEL_LOGSQL_MEMORY_H
#define TEL_LOGSQL_MEMORY_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/base/error.h"

/* What each thread of a query may keep without asking. */
#define TEL_MEMORY_FREE_BYTES (256u << 10)

struct tel_memory_pool;

struct tel_memory_account {
    struct tel_memory_pool *pool; /* NULL: what it takes is not bounded here */
    struct tel_memory_account *prev, *next;
    size_t used;          /* under the pool's lock */
    _Atomic bool refused; /* it held most when there was no more */
};

struct tel_memory_pool *tel_memory_pool_new(size_t limit_bytes);
void tel_memory_pool_free(struct tel_memory_pool *pool); /* all accounts are closed; NULL is fine */

struct tel_memory_stats {
    size_t limit, used;
    uint64_t refused; /* accounts, since the start */
};
void tel_memory_pool_stats(struct tel_memory_pool *pool, struct tel_memory_stats *ret);

void tel_memory_open(struct tel_memory_account *account, struct tel_memory_pool *pool);
/* Gives back all that was taken. Fine for an account that is all zero, and twice. */
void tel_memory_close(struct tel_memory_account *account);

/* Takes bytes from the pool, waiting up to a second if others have to give some back. TEL_ERR_LIMIT:
 * this account holds most, or nobody gave enough back; err has the figures. Or what stop (may be
 * NULL), which is asked meanwhile, says. */
TEL_MUST_USE tel_code tel_memory_take(struct tel_memory_account *account, size_t bytes,
                                      tel_code (*stop)(void *ctx), void *stop_ctx,
                                      struct tel_error *err);
/* TEL_ERR_LIMIT if the account was refused. */
TEL_MUST_USE tel_code tel_memory_check(const struct tel_memory_account *account,
                                       struct tel_error *err);

#endif

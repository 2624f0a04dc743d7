#include "common/logsql/memory.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/sys/lanes.h"
#include "common/sys/thread.h"

#define WAIT_NS  TEL_NS_PER_S
#define SLICE_NS (10 * TEL_NS_PER_MS)

struct tel_memory_pool {
    struct tel_mutex lock;
    struct tel_cond given_back;
    size_t limit, used;
    uint64_t refused;
    struct tel_memory_account *accounts;
};

struct tel_memory_pool *tel_memory_pool_new(size_t limit_bytes)
{
    struct tel_memory_pool *pool = TEL_NEW(struct tel_memory_pool);
    tel_mutex_init(&pool->lock);
    tel_cond_init(&pool->given_back);
    pool->limit = limit_bytes;
    return pool;
}

void tel_memory_pool_free(struct tel_memory_pool *pool)
{
    if (!pool)
        return;
    TEL_CHECK(!pool->accounts && pool->used == 0);
    tel_cond_done(&pool->given_back);
    tel_mutex_done(&pool->lock);
    free(pool);
}

void tel_memory_pool_stats(struct tel_memory_pool *pool, struct tel_memory_stats *ret)
{
    tel_mutex_lock(&pool->lock);
    *ret = (struct tel_memory_stats){pool->limit, pool->used, pool->refused};
    tel_mutex_unlock(&pool->lock);
}

void tel_memory_open(struct tel_memory_account *account, struct tel_memory_pool *pool)
{
    *account = (struct tel_memory_account){.pool = pool};
    if (!pool)
        return;
    tel_mutex_lock(&pool->lock);
    account->next = pool->accounts;
    if (account->next)
        account->next->prev = account;
    pool->accounts = account;
    tel_mutex_unlock(&pool->lock);
}

void tel_memory_close(struct tel_memory_account *account)
{
    struct tel_memory_pool *pool = account->pool;
    if (!pool)
        return;
    tel_mutex_lock(&pool->lock);
    *(account->prev ? &account->prev->next : &pool->accounts) = account->next;
    if (account->next)
        account->next->prev = account->prev;
    pool->used -= account->used;
    tel_cond_broadcast(&pool->given_back);
    tel_mutex_unlock(&pool->lock);
    *account = (struct tel_memory_account){.pool = NULL};
}

tel_code tel_memory_check(const struct tel_memory_account *account, struct tel_error *err)
{
    if (!atomic_load_explicit(&account->refused, memory_order_relaxed))
        return TEL_OK;
    return tel_error_set(err, TEL_ERR_LIMIT,
                         "the queries that run need more than their memory of %zu MiB together, and "
                         "this one held most of it",
                         account->pool->limit >> 20);
}

/* The account that holds most, were `self` given bytes more; one that was refused and is on its way
 * out goes first. The lock is held. */
static struct tel_memory_account *largest(struct tel_memory_pool *pool,
                                          struct tel_memory_account *self, size_t bytes)
{
    struct tel_memory_account *most = self;
    size_t held = self->used + bytes;
    for (struct tel_memory_account *a = pool->accounts; a; a = a->next) {
        if (a != self && a->used > 0 && atomic_load(&a->refused))
            return a;
        if (a != self && a->used > held) {
            most = a;
            held = a->used;
        }
    }
    return most;
}

/* The lock is held. */
static void refuse(struct tel_memory_pool *pool, struct tel_memory_account *account)
{
    if (!atomic_exchange(&account->refused, true))
        pool->refused++;
}

tel_code tel_memory_take(struct tel_memory_account *account, size_t bytes,
                         tel_code (*stop)(void *ctx), void *stop_ctx, struct tel_error *err)
{
    struct tel_memory_pool *pool = account->pool;
    if (!pool)
        return TEL_OK;
    int64_t now = tel_mono_ns(tel_clock_system()), until = now + WAIT_NS;
    tel_code rc = TEL_OK;
    tel_mutex_lock(&pool->lock);
    while (rc == TEL_OK && !atomic_load(&account->refused) && bytes > pool->limit - pool->used) {
        struct tel_memory_account *most = largest(pool, account, bytes);
        if (most == account || now >= until) {
            refuse(pool, account);
            break;
        }
        refuse(pool, most);
        tel_lanes_step_out(); /* whoever has to give some back needs one to find out */
        tel_cond_wait_until(&pool->given_back, &pool->lock, now + SLICE_NS);
        tel_lanes_step_in();
        now = tel_mono_ns(tel_clock_system());
        rc = stop ? stop(stop_ctx) : TEL_OK;
        if (rc != TEL_OK)
            tel_error_set(err, rc, "the query was stopped: %s", tel_code_text(rc));
    }
    if (rc == TEL_OK)
        rc = tel_memory_check(account, err);
    if (rc == TEL_OK) {
        pool->used += bytes;
        account->used += bytes;
    }
    tel_mutex_unlock(&pool->lock);
    return rc;
}

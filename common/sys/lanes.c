#include "common/sys/lanes.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/sys/thread.h"

#define ASK_MS 50

struct waiter {
    struct waiter *prev, *next; /* in the order of arrival */
    struct tel_span group;
    struct tel_cond go;
    bool let_in;
};

struct tel_lanes {
    struct tel_mutex lock;
    unsigned count, busy; /* busy may be more: who stepped out comes back at once */
    struct tel_map groups; /* name -> lanes that it has */
    struct waiter *first, *last;
};

/* The lane of this thread. */
static _Thread_local struct {
    struct tel_lanes *lanes; /* NULL: it has none */
    struct tel_span group;
    unsigned out; /* how often it has stepped out */
} mine;

struct tel_lanes *tel_lanes_new(unsigned count)
{
    struct tel_lanes *l = TEL_NEW(struct tel_lanes);
    tel_mutex_init(&l->lock);
    tel_map_init(&l->groups);
    l->count = TEL_MAX(count, 1u);
    return l;
}

void tel_lanes_free(struct tel_lanes *l)
{
    if (!l)
        return;
    TEL_CHECK(l->busy == 0 && !l->first);
    tel_map_free(&l->groups);
    tel_mutex_done(&l->lock);
    free(l);
}

/* ---- under the lock ------------------------------------------------------------------------------ */

static uint64_t lanes_of(const struct tel_lanes *l, struct tel_span group)
{
    const uint64_t *n = tel_map_get(&l->groups, group);
    return n ? *n : 0;
}

static void take(struct tel_lanes *l, struct tel_span group)
{
    l->busy++;
    ++*tel_map_put(&l->groups, group, NULL);
}

static void unlink_waiter(struct tel_lanes *l, struct waiter *w)
{
    *(w->prev ? &w->prev->next : &l->first) = w->next;
    *(w->next ? &w->next->prev : &l->last) = w->prev;
}

static void let_in(struct tel_lanes *l)
{
    while (l->busy < l->count && l->first) {
        struct waiter *best = l->first;
        uint64_t fewest = lanes_of(l, best->group);
        for (struct waiter *w = best->next; w && fewest > 0; w = w->next) {
            uint64_t n = lanes_of(l, w->group);
            if (n < fewest) {
                best = w;
                fewest = n;
            }
        }
        unlink_waiter(l, best);
        take(l, best->group);
        best->let_in = true;
        tel_cond_signal(&best->go);
    }
}

static void give(struct tel_lanes *l, struct tel_span group)
{
    l->busy--;
    uint64_t *n = tel_map_get(&l->groups, group);
    if (--*n == 0)
        tel_map_remove(&l->groups, group);
    let_in(l);
}

/* ---- any thread ---------------------------------------------------------------------------------- */

static bool wait_turn(struct tel_lanes *l, struct tel_span group, bool (*gone)(void *ctx), void *ctx)
{
    struct waiter w = {.group = group, .prev = l->last};
    tel_cond_init(&w.go);
    *(w.prev ? &w.prev->next : &l->first) = &w;
    l->last = &w;
    bool is_gone = false;
    while (!w.let_in && !is_gone) {
        if (tel_cond_wait_until(&w.go, &l->lock, tel_deadline_ms(ASK_MS)) || w.let_in || !gone)
            continue;
        tel_mutex_unlock(&l->lock);
        is_gone = gone(ctx);
        tel_mutex_lock(&l->lock);
    }
    if (!w.let_in)
        unlink_waiter(l, &w);
    tel_cond_done(&w.go);
    return w.let_in;
}

bool tel_lanes_enter(struct tel_lanes *l, struct tel_span group, bool (*gone)(void *ctx), void *ctx)
{
    TEL_CHECK(!mine.lanes);
    tel_mutex_lock(&l->lock);
    bool in = l->busy < l->count && !l->first;
    if (in)
        take(l, group);
    else
        in = wait_turn(l, group, gone, ctx);
    tel_mutex_unlock(&l->lock);
    if (in) {
        mine.lanes = l;
        mine.group = group;
    }
    return in;
}

void tel_lanes_leave(struct tel_lanes *l)
{
    TEL_CHECK(mine.lanes == l && mine.out == 0);
    tel_mutex_lock(&l->lock);
    give(l, mine.group);
    tel_mutex_unlock(&l->lock);
    mine.lanes = NULL;
}

void tel_lanes_step_out(void)
{
    if (!mine.lanes || mine.out++ > 0)
        return;
    tel_mutex_lock(&mine.lanes->lock);
    give(mine.lanes, mine.group);
    tel_mutex_unlock(&mine.lanes->lock);
}

void tel_lanes_step_in(void)
{
    if (!mine.lanes || --mine.out > 0)
        return;
    tel_mutex_lock(&mine.lanes->lock);
    take(mine.lanes, mine.group);
    tel_mutex_unlock(&mine.lanes->lock);
}

unsigned tel_lanes_waiting(struct tel_lanes *l)
{
    unsigned n = 0;
    tel_mutex_lock(&l->lock);
    for (const struct waiter *w = l->first; w; w = w->next)
        n++;
    tel_mutex_unlock(&l->lock);
    return n;
}

#include "shard/maintain/expire.h"

#include <stdlib.h>

#define TEL_LOG_COMPONENT "maintain"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/timefmt.h"

#define SEGMENTS_PER_ROUND 1000u

struct round {
    struct store *const *stores;
    size_t count;
    const struct retention_rules *rules;
    int64_t today;
    struct expire_stats *stats;
    size_t left; /* segments that may still be deleted in this round */
};

static void note(struct round *r, enum retention_reason why, const struct store_gone *gone)
{
    struct store_gone *sum = &r->stats->of[why];
    sum->days += gone->days;
    sum->segments += gone->segments;
    sum->events += gone->events;
    sum->bytes += gone->bytes;
    tel_log_info("deleted by retention", tel_kv_str("why", retention_reason_name(why)),
                 tel_kv_u64("days", gone->days), tel_kv_u64("segments", gone->segments),
                 tel_kv_u64("events", gone->events), tel_kv_u64("bytes", gone->bytes));
}

static void drop_before(struct round *r, int64_t day, enum retention_reason why)
{
    struct store_gone gone = {0};
    for (size_t i = 0; i < r->count; i++)
        store_drop_before(r->stores[i], day, &gone);
    if (gone.days)
        note(r, why, &gone);
}

/* ---- segments ----------------------------------------------------------------------------------- */

static void select_all(const struct round *r, const struct tel_span *tenant, int64_t end_ns,
                       store_segments *ret)
{
    struct tel_buf missing = {0};
    for (size_t i = 0; i < r->count; i++) {
        struct store_view view = {0};
        store_select(r->stores[i], tenant, INT64_MIN, end_ns, &view, &missing);
        for (size_t j = 0; j < view.segments.len; j++)
            tel_vec_push(ret, store_segment_ref(view.segments.items[j]));
        store_view_done(&view);
    }
    tel_buf_free(&missing);
}

static int oldest_first(const void *a, const void *b)
{
    const struct store_segment *x = *(struct store_segment *const *)a;
    const struct store_segment *y = *(struct store_segment *const *)b;
    int64_t dx = store_segment_day(x), dy = store_segment_day(y);
    if (dx != dy)
        return dx < dy ? -1 : 1;
    if (x->max_time_ns != y->max_time_ns)
        return x->max_time_ns < y->max_time_ns ? -1 : 1;
    return x->serial < y->serial ? -1 : x->serial > y->serial;
}

static void sort_oldest_first(store_segments *list)
{
    if (list->len)
        qsort(list->items, list->len, sizeof(*list->items), oldest_first);
}

static void retire(struct round *r, struct store_segment *s, struct store_gone *gone)
{
    if (store_retire(s, NULL) != TEL_OK)
        return;
    gone->segments++;
    gone->events += s->rows;
    gone->bytes += s->stored_bytes;
    r->left--;
}

/* The oldest segments of the list, until so many bytes are gone. */
static void retire_bytes(struct round *r, store_segments *list, uint64_t too_much,
                         enum retention_reason why)
{
    struct store_gone gone = {0};
    sort_oldest_first(list);
    for (size_t i = 0; i < list->len && r->left > 0 && gone.bytes < too_much; i++)
        retire(r, list->items[i], &gone);
    if (gone.segments)
        note(r, why, &gone);
}

/* ---- by age ------------------------------------------------------------------------------------- */

static int64_t oldest_day(const struct round *r, uint32_t days)
{
    return days ? r->today - days : INT64_MIN;
}

static bool has_rule(const struct retention_rules *rules, struct tel_span tenant)
{
    for (size_t i = 0; i < rules->tenant_count; i++)
        if (rules->tenants[i].days >= 0 &&
            tel_span_eq_cstr(tenant, rules->tenants[i].tenant))
            return true;
    return false;
}

/* What some tenant keeps and others do not. */
static void retire_aged(struct round *r, int64_t before_day)
{
    int64_t end_ns;
    if (__builtin_mul_overflow(before_day, TEL_NS_PER_DAY, &end_ns))
        return;
    store_segments list = {0};
    struct store_gone general = {0}, own = {0};
    select_all(r, NULL, end_ns, &list);
    for (size_t i = 0; i < list.len && r->left > 0; i++) {
        struct store_segment *s = list.items[i];
        if (store_segment_day(s) < oldest_day(r, retention_rules_days(r->rules, s->tenant)))
            retire(r, s, has_rule(r->rules, s->tenant) ? &own : &general);
    }
    store_segments_done(&list);
    if (general.segments)
        note(r, RETENTION_AGE, &general);
    if (own.segments)
        note(r, RETENTION_TENANT_AGE, &own);
}

static void expire_by_age(struct round *r)
{
    /* Of all rules, the one that keeps longest and the one that keeps shortest. */
    int64_t first = oldest_day(r, r->rules->days), last = first;
    for (size_t i = 0; i < r->rules->tenant_count; i++) {
        int32_t days = r->rules->tenants[i].days;
        if (days < 0)
            continue;
        first = TEL_MIN(first, oldest_day(r, (uint32_t)days));
        last = TEL_MAX(last, oldest_day(r, (uint32_t)days));
    }
    if (first != INT64_MIN)
        drop_before(r, first, RETENTION_AGE);
    if (last > first)
        retire_aged(r, last);
}

/* ---- by size ------------------------------------------------------------------------------------ */

static uint64_t bytes_of(const store_segments *list)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < list->len; i++)
        bytes += list->items[i]->stored_bytes;
    return bytes;
}

static void expire_tenants(struct round *r)
{
    for (size_t i = 0; i < r->rules->tenant_count && r->left > 0; i++) {
        const struct retention_tenant *t = &r->rules->tenants[i];
        if (!t->bytes)
            continue;
        struct tel_span name = tel_span_cstr(t->tenant);
        store_segments list = {0};
        select_all(r, &name, INT64_MAX, &list);
        uint64_t bytes = bytes_of(&list);
        if (bytes > t->bytes)
            retire_bytes(r, &list, bytes - t->bytes, RETENTION_TENANT_SIZE);
        store_segments_done(&list);
    }
}

static uint64_t stored_bytes(const struct round *r)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct store_stats stats;
        store_stats_get(r->stores[i], &stats);
        bytes += stats.stored_bytes;
    }
    return bytes;
}

static void expire_by_size(struct round *r)
{
    uint64_t bytes;
    while (r->rules->bytes && r->left > 0 && (bytes = stored_bytes(r)) > r->rules->bytes) {
        int64_t oldest = INT64_MAX, newest = INT64_MIN, end_ns;
        for (size_t i = 0; i < r->count; i++) {
            oldest = TEL_MIN(oldest, store_oldest_day(r->stores[i]));
            newest = TEL_MAX(newest, store_newest_day(r->stores[i]));
        }
        if (__builtin_mul_overflow(oldest + 1, TEL_NS_PER_DAY, &end_ns))
            end_ns = INT64_MAX;
        store_segments list = {0};
        select_all(r, NULL, end_ns, &list);
        uint64_t of_day = bytes_of(&list), too_much = bytes - r->rules->bytes;
        bool whole = of_day <= too_much && oldest < newest;
        if (whole)
            drop_before(r, oldest + 1, RETENTION_SIZE);
        else
            retire_bytes(r, &list, too_much, RETENTION_SIZE);
        store_segments_done(&list);
        if (!whole)
            return;
    }
}

void expire_run(struct store *const *stores, size_t count, struct retention *retention,
                struct expire_stats *stats, bool *ret_more)
{
    struct round r = {
        .stores = stores,
        .count = count,
        .rules = retention_get(retention),
        .today = tel_day_of(retention_now(retention)),
        .stats = stats,
        .left = SEGMENTS_PER_ROUND,
    };
    expire_by_age(&r);
    expire_tenants(&r);
    expire_by_size(&r);
    for (size_t i = 0; i < count; i++)
        store_drop_empty(stores[i]);
    retention_put(r.rules);
    *ret_more = r.left == 0;
}

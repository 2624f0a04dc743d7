#include "shard/store/retention.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/timefmt.h"
#include "common/sys/thread.h"

/* An immutable copy of rules, counted, so that who reads them needs no lock. */
struct rule_set {
    struct retention_rules rules; /* first: retention_put finds the set by it */
    _Atomic uint32_t refs;
    struct retention_tenant tenants[]; /* by name */
};

struct retention {
    struct tel_mutex lock; /* a leaf; guards set and expired */
    struct rule_set *set;
    struct tel_map expired; /* tenant -> events */
    _Atomic bool by_age;    /* does any rule look at days? */
    _Atomic int64_t now_ns;
};

static const char *const reason_names[RETENTION_REASONS] = {
    [RETENTION_AGE] = "age",
    [RETENTION_SIZE] = "size",
    [RETENTION_TENANT_AGE] = "tenant_age",
    [RETENTION_TENANT_SIZE] = "tenant_size",
};

const char *retention_reason_name(enum retention_reason reason)
{
    return reason_names[reason];
}

static int by_tenant(const void *a, const void *b)
{
    const struct retention_tenant *x = a, *y = b;
    return strcmp(x->tenant, y->tenant);
}

static struct rule_set *set_new(const struct retention_rules *rules)
{
    size_t count = rules->tenant_count;
    struct rule_set *set = tel_calloc(1, sizeof(*set) + count * sizeof(*set->tenants));
    set->rules = *rules;
    set->rules.tenants = set->tenants;
    atomic_init(&set->refs, 1);
    for (size_t i = 0; i < count; i++) {
        set->tenants[i] = rules->tenants[i];
        set->tenants[i].tenant = tel_strdup(rules->tenants[i].tenant);
    }
    if (count)
        qsort(set->tenants, count, sizeof(*set->tenants), by_tenant);
    return set;
}

static void set_unref(struct rule_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < set->rules.tenant_count; i++)
        free((char *)(uintptr_t)set->tenants[i].tenant);
    free(set);
}

struct retention *retention_new(const struct retention_rules *rules)
{
    struct retention *r = TEL_NEW(struct retention);
    tel_mutex_init(&r->lock);
    tel_map_init(&r->expired);
    tel_map_put(&r->expired, TEL_SPAN(""), NULL);
    atomic_init(&r->now_ns, INT64_MAX);
    retention_set(r, rules);
    return r;
}

void retention_free(struct retention *r)
{
    if (!r)
        return;
    set_unref(r->set);
    tel_map_free(&r->expired);
    tel_mutex_done(&r->lock);
    free(r);
}

void retention_set(struct retention *r, const struct retention_rules *rules)
{
    struct rule_set *set = set_new(rules);
    bool by_age = rules->days > 0;
    tel_mutex_lock(&r->lock);
    struct rule_set *old = r->set;
    r->set = set;
    for (size_t i = 0; i < rules->tenant_count; i++) {
        by_age = by_age || rules->tenants[i].days > 0;
        tel_map_put(&r->expired, tel_span_cstr(rules->tenants[i].tenant), NULL);
    }
    atomic_store(&r->by_age, by_age);
    tel_mutex_unlock(&r->lock);
    set_unref(old);
}

const struct retention_rules *retention_get(struct retention *r)
{
    tel_mutex_lock(&r->lock);
    struct rule_set *set = r->set;
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    tel_mutex_unlock(&r->lock);
    return &set->rules;
}

void retention_put(const struct retention_rules *rules)
{
    set_unref((struct rule_set *)(uintptr_t)rules);
}

uint32_t retention_rules_days(const struct retention_rules *rules, struct tel_span tenant)
{
    size_t lo = 0, hi = rules->tenant_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = tel_span_cmp(tel_span_cstr(rules->tenants[mid].tenant), tenant);
        if (c == 0)
            return rules->tenants[mid].days < 0 ? rules->days : (uint32_t)rules->tenants[mid].days;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return rules->days;
}

int64_t retention_now(const struct retention *r)
{
    return r ? atomic_load_explicit(&r->now_ns, memory_order_relaxed) : INT64_MAX;
}

void retention_set_now(struct retention *r, int64_t now_ns)
{
    atomic_store_explicit(&r->now_ns, now_ns, memory_order_relaxed);
}

int64_t retention_oldest_day(struct retention *r, struct tel_span tenant, int64_t log_ns)
{
    if (!r || !atomic_load_explicit(&r->by_age, memory_order_relaxed))
        return INT64_MIN;
    tel_mutex_lock(&r->lock);
    uint32_t days = retention_rules_days(&r->set->rules, tenant);
    tel_mutex_unlock(&r->lock);
    return days ? tel_day_of(TEL_MIN(retention_now(r), log_ns)) - days : INT64_MIN;
}

void retention_count_expired(struct retention *r, struct tel_span tenant, uint64_t events)
{
    tel_mutex_lock(&r->lock);
    uint64_t *count = tel_map_get(&r->expired, tenant);
    if (!count)
        count = tel_map_get(&r->expired, TEL_SPAN(""));
    *count += events;
    tel_mutex_unlock(&r->lock);
}

void retention_each_expired(struct retention *r,
                            void (*each)(void *ctx, const char *tenant, uint64_t events), void *ctx)
{
    tel_mutex_lock(&r->lock);
    struct tel_map_slot *slot;
    for (size_t pos = 0; (slot = tel_map_next(&r->expired, &pos));) {
        char name[128];
        size_t len = TEL_MIN(slot->key.len, sizeof(name) - 1);
        memcpy(name, slot->key.ptr, len);
        name[len] = '\0';
        each(ctx, name, slot->value);
    }
    tel_mutex_unlock(&r->lock);
}

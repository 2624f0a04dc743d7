/*
 * How long whose events are kept: the rules, and the time that ages are counted from. Ingest asks for
 * what arrives, maintenance for what is stored; the configuration may change the rules at any moment.
 *
 * The time is not simply the machine's: shard/maintain/clock.h says what it is. An event that arrives
 * is measured by the log's time of its message, if that is less: what is old enough to be dropped does
 * not change when the log is read again later.
 *
 * All functions are for any thread.
 */
#ifndef SHARD_STORE_RETENTION_H
#define SHARD_STORE_RETENTION_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/span.h"

#define RETENTION_DAYS_GENERAL (-1) /* a tenant's days: as everybody's */

/* A rule for one tenant. */
struct retention_tenant {
    const char *tenant;
    int32_t days;   /* of events that are kept; 0: for ever; RETENTION_DAYS_GENERAL */
    uint64_t bytes; /* of its segments, on this server; 0: no limit of its own */
};

struct retention_rules {
    uint32_t days;  /* 0: for ever */
    uint64_t bytes; /* of all segments; 0: no limit */
    const struct retention_tenant *tenants; /* each at most once */
    size_t tenant_count;
};

/* Why something was deleted. */
enum retention_reason {
    RETENTION_AGE,
    RETENTION_SIZE,
    RETENTION_TENANT_AGE,
    RETENTION_TENANT_SIZE,
    RETENTION_REASONS
};
const char *retention_reason_name(enum retention_reason reason);

struct retention;

struct retention *retention_new(const struct retention_rules *rules); /* copies them */
void retention_free(struct retention *retention);
void retention_set(struct retention *retention, const struct retention_rules *rules);

/* The rules as they are now; they stay as they are until given back. */
const struct retention_rules *retention_get(struct retention *retention);
void retention_put(const struct retention_rules *rules);
/* The days that a tenant's events are kept under these rules; 0: for ever. */
uint32_t retention_rules_days(const struct retention_rules *rules, struct tel_span tenant);

/* ns since the epoch, set by maintenance; INT64_MAX before, and for NULL. */
int64_t retention_now(const struct retention *retention);
void retention_set_now(struct retention *retention, int64_t now_ns);

/* The oldest day of which the tenant's events are kept, by the lesser of retention_now and log_ns;
 * INT64_MIN: all are. retention NULL: all are. */
int64_t retention_oldest_day(struct retention *retention, struct tel_span tenant, int64_t log_ns);

/* Events that were dropped at their arrival because they were too old; counted per tenant that ever
 * had a rule of its own, and for all others together (the empty name). */
void retention_count_expired(struct retention *retention, struct tel_span tenant, uint64_t events);
void retention_each_expired(struct retention *retention,
                            void (*each)(void *ctx, const char *tenant, uint64_t events), void *ctx);

#endif

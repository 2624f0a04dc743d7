/* The admin HTTP address of telescope-shard: /metrics, /healthz, /readyz, /snapshot. */
#ifndef SHARD_ADMIN_H
#define SHARD_ADMIN_H

#include <stdint.h>

#include "common/base/error.h"

struct shard_server;
struct shard_admin;
struct tel_metrics;

struct shard_admin_options {
    const char *listen;
    const char *snapshot_dir;      /* see admin_snapshot.h; both outlive it; NULL: as "" */
    uint64_t snapshot_bytes_per_s; /* 0: no limit */
};

/* Answers 503 to /readyz until the shard has caught up. */
TEL_MUST_USE tel_code shard_admin_new(const struct shard_admin_options *options, struct shard_server *server,
                                      struct tel_metrics *metrics, struct shard_admin **ret,
                                      struct tel_error *err);
const char *shard_admin_address(const struct shard_admin *admin);
void shard_admin_free(struct shard_admin *admin); /* NULL is fine */

#endif

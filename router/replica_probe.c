#include "router/replica_probe.h"

#include <stdatomic.h>
#include <stdlib.h>

#define TEL_LOG_COMPONENT "router"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "router/router.h"

#define TIMEOUT_MS 1000
#define RUN_MS     100 /* how late a close may be noticed */

struct replica_probe {
    struct router *router;
    pthread_t thread;
    _Atomic bool closing;
};

struct question {
    struct replica_health *health;
    const char *address;
};

static void on_status(void *user, const Telescope__Shard__V1__StatusResponse *status,
                      const struct tel_error *err)
{
    (void)err;
    const struct question *q = user;
    if (!status)
        return;
    replica_health_good(q->health, q->address);
    tel_log_info("a shard server answers again", tel_kv_str("address", q->address));
}

/* One round: those that are due now. */
static void probe_round(struct replica_probe *p)
{
    struct shard_map *map = router_map(p->router);
    size_t count;
    const char *const *addresses = shard_map_addresses(map, &count);
    const char **due = tel_calloc(count, sizeof(*due));
    struct question *questions = tel_calloc(count, sizeof(*questions));
    size_t n = replica_health_due(p->router->health, addresses, count, due);
    const struct shard_client_ops *ops = p->router->client->ops;
    struct shard_gather *gather = ops->gather(p->router->client);
    Telescope__Shard__V1__StatusRequest request = TELESCOPE__SHARD__V1__STATUS_REQUEST__INIT;
    request.map_version = shard_map_version(map);
    for (size_t i = 0; i < n; i++) {
        questions[i] = (struct question){p->router->health, due[i]};
        ops->status(gather, due[i], &request, TIMEOUT_MS, on_status, &questions[i]);
    }
    while (ops->run(gather, RUN_MS) > 0 && !atomic_load(&p->closing))
        ;
    ops->gather_free(gather);
    free(questions);
    free(due);
    shard_map_unref(map);
}

static void *probe_run(void *arg)
{
    struct replica_probe *p = arg;
    pthread_setname_np(pthread_self(), "probe");
    while (replica_health_wait(p->router->health))
        probe_round(p);
    return NULL;
}

struct replica_probe *replica_probe_new(struct router *router)
{
    struct replica_probe *p = TEL_NEW(struct replica_probe);
    p->router = router;
    int failed = pthread_create(&p->thread, NULL, probe_run, p);
    if (failed) {
        struct tel_error err;
        tel_error_errno(&err, failed, "start the thread that probes shard servers");
        tel_log_error("servers that fail are avoided until a query needs them", tel_kv_error(&err));
        free(p);
        return NULL;
    }
    return p;
}

void replica_probe_free(struct replica_probe *p)
{
    if (!p)
        return;
    atomic_store(&p->closing, true);
    replica_health_close(p->router->health);
    pthread_join(p->thread, NULL);
    free(p);
}

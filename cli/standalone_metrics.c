/* What standalone's parts count, gathered when somebody asks. */
#include <stdio.h>

#include "cli/standalone.h"
#include "common/journal/journal.h"
#include "common/metrics/registry.h"
#include "common/net/http/http_server.h"
#include "common/transport/transport_journal.h"
#include "router/router.h"
#include "shard/metrics.h"
#include "sidecar/insert/insert.h"
#include "sidecar/sidecar.h"

#define METRIC(...) TEL_METRIC_ITEM(struct standalone_metrics, __VA_ARGS__)
static const struct tel_metric_item items[] = {
#include "cli/metrics.def"
};
#undef METRIC
const struct tel_metric_table standalone_metric_table = TEL_METRIC_TABLE(items);

static void collect_http(struct standalone_metrics *m, const struct standalone_parts *p)
{
    struct tel_http_server_stats h = {0};
    struct tel_insert_stats i = {0};
    if (p->http)
        tel_http_server_stats(p->http, &h);
    if (p->insert)
        tel_insert_stats(p->insert, &i);
    tel_counter_set(&m->http_requests, h.requests);
    tel_counter_set(&m->http_4xx, h.replies_4xx);
    tel_counter_set(&m->http_5xx, h.replies_5xx);
    tel_counter_set(&m->http_bodies_cut, h.bodies_cut);
    tel_counter_set(&m->http_bodies_refused, h.bodies_refused);
    tel_counter_set(&m->http_streams_aborted, h.streams_aborted);
    tel_gauge_set(&m->http_connections, (double)h.connections);
    tel_gauge_set(&m->http_running, (double)h.in_flight);
    tel_gauge_set(&m->http_body_bytes, (double)h.body_bytes_held);
    tel_counter_set(&m->insert_requests, i.requests);
    tel_counter_set(&m->insert_failed, i.requests_failed);
    tel_counter_set(&m->insert_events, i.events);
    tel_counter_set(&m->insert_bytes, i.bytes);
    tel_counter_set(&m->insert_bad, i.bad_events);
    tel_counter_set(&m->insert_dead_lost, i.dead_letters_lost);
}

static void collect_queue(struct standalone_metrics *m, const struct standalone_parts *p)
{
    for (uint32_t i = 0; i < p->partitions; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        const char *const l[] = {name};
        struct tel_journal_stats s;
        tel_transport_journal_stats(p->queue, i, &s);
        tel_gauge_set(tel_family_gauge(&m->queue_bytes, l), (double)s.bytes);
        tel_gauge_set(tel_family_gauge(&m->queue_budget, l), (double)s.budget_bytes);
        tel_gauge_set(tel_family_gauge(&m->queue_waiting, l), (double)s.pending_bytes);
        tel_counter_set(tel_family_counter(&m->queue_records, l), s.appended_records);
        tel_counter_set(tel_family_counter(&m->queue_syncs, l), s.syncs);
        tel_counter_set(tel_family_counter(&m->queue_failures, l), s.failures);
    }
}

void standalone_metrics_collect(void *arg)
{
    struct standalone_parts *p = arg;
    struct standalone_metrics *m = &p->metrics;
    struct sidecar_stats s = {0};
    collect_http(m, p);
    collect_queue(m, p);
    if (p->sidecar)
        sidecar_get_stats(p->sidecar, &s);
    tel_counter_set(&m->tail_events, s.events_read);
    tel_counter_set(&m->tail_delivered, s.events_delivered);
    tel_gauge_set(&m->tail_held, (double)s.held_bytes);
    tel_gauge_set(&m->tail_sources, s.sources);
}

void standalone_metrics_doc(struct tel_buf *out)
{
    static const struct tel_metric_table *tables[3];
    tables[0] = &standalone_metric_table;
    tables[1] = &shard_metric_table;
    tables[2] = &router_metric_table;
    tel_metrics_doc_markdown(out, "telescope standalone", tables, TEL_ARRAY_LEN(tables));
}

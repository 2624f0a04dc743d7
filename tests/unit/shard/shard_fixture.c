#include "tests/unit/shard/shard_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/logsql/parser.h"
#include "common/logsql/pipe.h"
#include "common/record/codec.h"
#include "common/sys/fs.h"
#include "common/transport/transport_journal.h"

void world_begin(struct world *w, size_t n)
{
    memset(w, 0, sizeof(*w));
    snprintf(w->dir, sizeof(w->dir), "/tmp/tel-shard-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->store, sizeof(w->store), "%s/store", w->dir);
    snprintf(w->queue, sizeof(w->queue), "%s/queue", w->dir);
    for (uint32_t i = 0; i < n; i++)
        w->partitions[i] = i;
    struct tel_transport_journal_options journal = {
        .dir = w->queue, .partitions = (uint32_t)n, .sync_interval_ms = 1};
    struct tel_error err = {0};
    if (tel_transport_journal_new(&journal, &w->transport, &err) != TEL_OK ||
        tel_transport_producer(w->transport, &w->producer, &err) != TEL_OK)
        fail_msg("%s", err.text);
    w->options = (struct shard_options){
        .dir = w->store,
        .node = "test",
        .partitions = w->partitions,
        .partition_count = n,
        .disk_reserve_bytes = UINT64_MAX,
        .chunk_interval_ms = 20,
        .workers = 2,
    };
}

void world_end(struct world *w)
{
    shard_server_free(w->server);
    tel_producer_free(w->producer);
    tel_transport_free(w->transport);
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), w->dir, NULL), TEL_OK);
}

void world_start(struct world *w)
{
    struct tel_error err = {0};
    if (shard_server_new(&w->options, w->transport, &w->server, &err) != TEL_OK)
        fail_msg("shard_server_new: %s", err.text);
}

void world_stop(struct world *w, bool flush)
{
    shard_server_stop(w->server, flush);
    shard_server_free(w->server);
    w->server = NULL;
}

static void delivered(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    (void)ctx;
    (void)offset;
    if (code != TEL_OK)
        fail_msg("not delivered: %s", err->text);
}

static void send_value(struct world *w, uint32_t partition, struct tel_span value,
                       tel_delivery_cb *cb, void *ctx)
{
    struct tel_error err;
    tel_code rc;
    while ((rc = tel_producer_send(w->producer, partition, TEL_SPAN("k"), value, cb, ctx,
                                   &err)) == TEL_ERR_AGAIN)
        tel_producer_poll(w->producer, 10);
    if (rc != TEL_OK)
        fail_msg("send: %s", err.text);
}

void world_send_bytes(struct world *w, uint32_t partition, struct tel_span value)
{
    send_value(w, partition, value, delivered, NULL);
}

void world_send(struct world *w, uint32_t partition, const char *tenant, const char *source,
                const struct world_event *events, uint32_t count)
{
    world_send_cb(w, partition, tenant, source, events, count, delivered, NULL);
}

void world_send_cb(struct world *w, uint32_t partition, const char *tenant, const char *source,
                   const struct world_event *events, uint32_t count, tel_delivery_cb *cb, void *ctx)
{
    struct tel_field labels[] = {{TEL_SPAN("app"), TEL_SPAN("test")},
                                 {TEL_SPAN("host"), tel_span_cstr(source)}};
    struct tel_event *list = tel_calloc(count, sizeof(*list));
    for (uint32_t i = 0; i < count; i++) {
        list[i].timestamp_ns = events[i].time_ns;
        list[i].position = events[i].position;
        list[i].severity = 9;
        list[i].body = tel_span_cstr(events[i].body);
    }
    struct tel_batch batch = {.tenant = tel_span_cstr(tenant),
                              .source = tel_span_cstr(source),
                              .resource = labels,
                              .resource_count = 2,
                              .events = list,
                              .event_count = count};
    struct tel_record_framing framing = {.frame = TEL_RECORD_SINGLE_OBJECT};
    struct tel_buf buf = {0};
    struct tel_error err;
    if (tel_record_encode(&batch, &framing, &buf, &err) != TEL_OK)
        fail_msg("encode: %s", err.text);
    send_value(w, partition, tel_buf_span(&buf), cb, ctx);
    tel_buf_free(&buf);
    free(list);
}

void world_sync(struct world *w)
{
    struct tel_error err;
    if (tel_producer_flush(w->producer, 20000, &err) != TEL_OK)
        fail_msg("flush: %s", err.text);
}

/* ---- searching ---------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(Telescope__Shard__V1__Column *const *)a)->name,
                  (*(Telescope__Shard__V1__Column *const *)b)->name);
}

static void take_full(struct found *found, Telescope__Shard__V1__RowBatch *batch)
{
    size_t *at = tel_calloc(batch->n_columns, sizeof(*at));
    qsort(batch->columns, batch->n_columns, sizeof(*batch->columns), by_name);
    struct tel_buf row = {0};
    for (size_t i = 0; i < batch->rows; i++) {
        tel_buf_clear(&row);
        if (batch->n_times_ns)
            tel_buf_printf(&row, "%lld %lld %u", (long long)batch->times_ns[i],
                           (long long)batch->offsets[i], batch->indexes[i]);
        for (size_t c = 0; c < batch->n_columns; c++) {
            const Telescope__Shard__V1__Column *column = batch->columns[c];
            size_t len = column->n_lengths ? column->lengths[i] : 0;
            if (len == 0)
                continue;
            tel_buf_printf(&row, " %s=", column->name);
            tel_buf_add(&row, column->data.data + at[c], len);
            at[c] += len;
        }
        ++*tel_map_put(&found->full, tel_buf_span(&row), NULL);
    }
    tel_buf_free(&row);
    free(at);
}

static tel_code take_rows(void *ctx, Telescope__Shard__V1__RowBatch *batch, struct tel_error *err)
{
    (void)err;
    struct found *found = ctx;
    for (size_t c = 0; c < batch->n_columns; c++) {
        if (strcmp(batch->columns[c]->name, "_msg") != 0)
            continue;
        const char *at = (const char *)batch->columns[c]->data.data;
        for (size_t i = 0; i < batch->rows; i++) {
            struct tel_span value = tel_span_make(at, batch->columns[c]->lengths[i]);
            at += value.len;
            tel_vec_push(&found->rows, tel_strndup(value));
            ++*tel_map_put(&found->bodies, value, NULL);
        }
    }
    take_full(found, batch);
    protobuf_c_message_free_unpacked(&batch->base, NULL);
    return TEL_OK;
}

tel_code world_search(struct world *w, const char *tenant, const char *query, uint64_t max_rows,
                      struct found *ret, struct tel_error *err)
{
    memset(ret, 0, sizeof(*ret));
    tel_map_init(&ret->bodies);
    tel_map_init(&ret->full);
    struct tel_arena arena;
    struct tel_query *parsed;
    tel_arena_init(&arena, 0);
    Telescope__Shard__V1__SearchRequest r = TELESCOPE__SHARD__V1__SEARCH_REQUEST__INIT;
    r.tenant = (char *)(uintptr_t)tenant;
    r.partitions = w->partitions;
    r.n_partitions = w->options.partition_count;
    r.query = (char *)(uintptr_t)query;
    r.now_ns = w->now_ns ? w->now_ns : tel_wall_ns(tel_clock_system());
    r.max_rows = max_rows;
    if (tel_query_parse(tel_span_cstr(query), r.now_ns, NULL, &arena, &parsed, err) == TEL_OK) {
        r.shard_pipes = (uint32_t)tel_query_split(parsed, NULL);
        tel_query_done(parsed);
    }
    tel_arena_free(&arena);
    struct shard_sink sink = {ret, take_rows, NULL};
    return shard_search(w->server, &r, &sink, &ret->end, err);
}

void found_done(struct found *found)
{
    for (size_t i = 0; i < found->rows.len; i++)
        free(found->rows.items[i]);
    tel_vec_free(&found->rows);
    tel_map_free(&found->bodies);
    tel_map_free(&found->full);
    if (found->end)
        protobuf_c_message_free_unpacked(&found->end->base, NULL);
    memset(found, 0, sizeof(*found));
}

uint64_t world_count(struct world *w, const char *tenant, const char *query)
{
    char text[512];
    snprintf(text, sizeof(text), "%s | stats count() n", query);
    struct found found;
    struct tel_error err = {0};
    if (world_search(w, tenant, text, 0, &found, &err) != TEL_OK)
        fail_msg("search [%s]: %s", text, err.text);
    uint64_t rows = found.end->stats->rows_matched;
    found_done(&found);
    return rows;
}

void world_await(struct world *w, const char *tenant, const char *query, uint64_t rows)
{
    int64_t deadline = tel_mono_ns(tel_clock_system()) + 20 * TEL_NS_PER_S;
    uint64_t got = 0;
    while (tel_mono_ns(tel_clock_system()) < deadline) {
        got = world_count(w, tenant, query);
        if (got == rows)
            return;
        struct timespec ts = {0, 5000000};
        nanosleep(&ts, NULL);
    }
    fail_msg("[%s] finds %llu rows, not %llu", query, (unsigned long long)got,
             (unsigned long long)rows);
}

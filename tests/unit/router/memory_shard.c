#include "tests/unit/router/memory_shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/logsql/filter.h"
#include "common/logsql/parser.h"

typedef Telescope__Shard__V1__SearchRequest request;
typedef Telescope__Shard__V1__SearchEnd search_end;

/* ---- blocks as messages ------------------------------------------------------------------------
 */

static void *copy_bytes(const void *from, size_t len)
{
    char *to = tel_malloc(len + 1);
    if (len)
        memcpy(to, from, len);
    to[len] = '\0';
    return to;
}

static Telescope__Shard__V1__Column *make_column(const struct tel_column *c, size_t rows)
{
    Telescope__Shard__V1__Column *m = tel_malloc(sizeof(*m));
    telescope__shard__v1__column__init(m);
    m->name = copy_bytes(c->name.ptr, c->name.len);
    if (!c->values)
        return m;
    struct tel_buf data = {0};
    m->n_lengths = rows;
    m->lengths = tel_calloc(rows, sizeof(*m->lengths));
    for (size_t i = 0; i < rows; i++) {
        m->lengths[i] = (uint32_t)c->values[i].len;
        tel_buf_add_span(&data, c->values[i]);
    }
    m->data.len = data.len;
    m->data.data = data.ptr ? (uint8_t *)data.ptr : tel_malloc(1);
    return m;
}

/* Such columns do not travel. */
static bool is_empty(const struct tel_column *c, size_t rows)
{
    if (!c->values)
        return false;
    for (size_t i = 0; i < rows; i++)
        if (c->values[i].len)
            return false;
    return true;
}

static Telescope__Shard__V1__RowBatch *make_batch(const struct tel_block *b)
{
    Telescope__Shard__V1__RowBatch *m = tel_malloc(sizeof(*m));
    telescope__shard__v1__row_batch__init(m);
    m->rows = (uint32_t)b->rows;
    if (b->keys) {
        m->n_times_ns = m->n_partitions = m->n_offsets = m->n_indexes = b->rows;
        m->times_ns = tel_calloc(b->rows, sizeof(*m->times_ns));
        m->partitions = tel_calloc(b->rows, sizeof(*m->partitions));
        m->offsets = tel_calloc(b->rows, sizeof(*m->offsets));
        m->indexes = tel_calloc(b->rows, sizeof(*m->indexes));
        for (size_t i = 0; i < b->rows; i++) {
            m->times_ns[i] = b->keys[i].time_ns;
            m->partitions[i] = b->keys[i].partition;
            m->offsets[i] = b->keys[i].offset;
            m->indexes[i] = b->keys[i].index;
        }
    }
    m->columns = tel_calloc(b->column_count + 1, sizeof(*m->columns));
    for (size_t i = 0; i < b->column_count; i++)
        if (!is_empty(&b->columns[i], b->rows))
            m->columns[m->n_columns++] = make_column(&b->columns[i], b->rows);
    return m;
}

/* ---- searching ---------------------------------------------------------------------------------
 */

struct run {
    struct memory_shard *shard;
    struct local_search *out;
    int batches;
    tel_code failed;
};

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static tel_code hang(struct memory_shard *s, const struct local_search *out, struct tel_error *err)
{
    while (!local_search_cancelled(out))
        nap();
    atomic_fetch_add(&s->cancelled, 1);
    return tel_error_set(err, TEL_ERR_CANCELLED, "hung");
}

static tel_code run_sink(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct run *r = ctx;
    struct memory_shard *s = r->shard;
    if (s->fail_after && r->batches >= s->fail_after)
        return tel_error_set(err, s->fail_code ? s->fail_code : TEL_ERR_UNAVAILABLE,
                             "%s: broke down", s->address);
    if (s->stall_after && r->batches >= s->stall_after)
        return hang(s, r->out, err);
    r->batches++;
    atomic_fetch_add(&s->rows_sent, (int)block->rows);
    tel_code rc = local_search_emit(r->out, make_batch(block));
    if (rc == TEL_ERR_CANCELLED)
        atomic_fetch_add(&s->cancelled, 1);
    return rc == TEL_OK ? rc : tel_error_set(err, rc, "not wanted");
}

static bool wanted(const request *req, const struct memory_event *e)
{
    if ((req->start_ns || req->end_ns) &&
        (e->key.time_ns < req->start_ns || e->key.time_ns >= req->end_ns))
        return false;
    if (req->before) {
        const struct tel_row_key before = {req->before->time_ns, req->before->partition,
                                           req->before->index, req->before->offset};
        if (tel_row_key_cmp(&e->key, &before) >= 0)
            return false;
    }
    for (size_t i = 0; i < req->n_partitions; i++)
        if (req->partitions[i] == e->key.partition)
            return true;
    return false;
}

static int newest_first(const void *a, const void *b)
{
    const struct memory_event *x = *(const struct memory_event *const *)a;
    const struct memory_event *y = *(const struct memory_event *const *)b;
    return -tel_row_key_cmp(&x->key, &y->key);
}

/* Rows [from, to) of picked events as a block with all columns. */
static struct tel_block make_block(struct tel_arena *arena, const struct memory_event **e, size_t n)
{
    struct tel_row_key *keys = TEL_ARENA_ARRAY(arena, struct tel_row_key, n);
    struct tel_span *msg = TEL_ARENA_ARRAY(arena, struct tel_span, n);
    struct tel_span *app = TEL_ARENA_ARRAY(arena, struct tel_span, n);
    struct tel_span *host = TEL_ARENA_ARRAY(arena, struct tel_span, n);
    struct tel_span *stream = TEL_ARENA_ARRAY(arena, struct tel_span, n);
    for (size_t i = 0; i < n; i++) {
        keys[i] = e[i]->key;
        msg[i] = tel_span_cstr(e[i]->msg);
        app[i] = tel_span_cstr(e[i]->app);
        host[i] = tel_span_cstr(e[i]->host);
        stream[i] = tel_arena_printf(arena, "{app=\"%s\",host=\"%s\"}", e[i]->app, e[i]->host);
    }
    struct tel_column *columns = TEL_ARENA_ARRAY(arena, struct tel_column, 5);
    columns[0] = (struct tel_column){TEL_SPAN(TEL_FIELD_TIME), NULL};
    columns[1] = (struct tel_column){TEL_SPAN(TEL_FIELD_STREAM), stream};
    columns[2] = (struct tel_column){TEL_SPAN(TEL_FIELD_MSG), msg};
    columns[3] = (struct tel_column){TEL_SPAN("app"), app};
    columns[4] = (struct tel_column){TEL_SPAN("host"), host};
    return (struct tel_block){.rows = n, .keys = keys, .column_count = 5, .columns = columns};
}

static tel_code push_matching(struct tel_chain *chain, const struct tel_query *q,
                              const struct tel_block *all, struct tel_arena *arena,
                              struct tel_error *err)
{
    struct tel_block_view view;
    tel_block_view_init(&view, all, arena);
    uint64_t *bits = TEL_ARENA_ARRAY(arena, uint64_t, TEL_BITMAP_WORDS(all->rows) + 1);
    tel_bitmap_fill(bits, all->rows);
    tel_code rc = tel_filter_eval(q->filter, &view.source, bits, err);
    struct tel_block matching;
    if (rc == TEL_OK) {
        tel_block_select(all, bits, arena, &matching);
        rc = tel_chain_push(chain, &matching, err);
    }
    return rc;
}

static tel_code run_query(struct run *r, const request *req, struct tel_arena *arena,
                          struct tel_error *err)
{
    struct memory_shard *s = r->shard;
    struct tel_query *q;
    tel_code rc = tel_query_parse(tel_span_cstr(req->query), req->now_ns, NULL, arena, &q, err);
    if (rc != TEL_OK)
        return rc;
    struct tel_exec exec = {
        .mode = TEL_EXEC_SHARD, .start_ns = req->start_ns, .end_ns = req->end_ns};
    struct tel_chain *chain = NULL;
    rc = tel_chain_open(q, &exec, run_sink, r, &chain, err);
    size_t count = s->event_count, n = 0, step = s->batch_rows ? s->batch_rows : 100;
    const struct memory_event **picked = TEL_ARENA_ARRAY(arena, const struct memory_event *, count);
    for (size_t i = 0; i < count; i++)
        if (wanted(req, &s->events[i]))
            picked[n++] = &s->events[i];
    if (req->max_rows && n)
        qsort(picked, n, sizeof(*picked), newest_first);
    for (size_t i = 0; i < n && rc == TEL_OK; i += step) {
        struct tel_block block = make_block(arena, picked + i, TEL_MIN(step, n - i));
        rc = push_matching(chain, q, &block, arena, err);
    }
    if (rc == TEL_OK)
        rc = tel_chain_finish(chain, err);
    tel_chain_close(chain);
    tel_query_done(q);
    return rc;
}

static search_end *make_end(const struct memory_shard *s, const request *req)
{
    search_end *end = tel_malloc(sizeof(*end));
    telescope__shard__v1__search_end__init(end);
    if (s->no_end)
        return end;
    end->unchanged = s->unchanged;
    end->n_partitions = req->n_partitions;
    end->partitions = tel_calloc(req->n_partitions, sizeof(*end->partitions));
    for (size_t i = 0; i < req->n_partitions; i++) {
        Telescope__Shard__V1__PartitionState *p = tel_malloc(sizeof(*p));
        telescope__shard__v1__partition_state__init(p);
        p->partition = req->partitions[i];
        p->watermark = p->high = s->watermark ? s->watermark : 1000;
        p->lag_ms = s->lag_ms;
        const char *missing = s->missing;
        if (p->partition != s->partitions[0])
            missing = NULL;
        if (i < req->n_watermarks && p->watermark < req->watermarks[i])
            missing = "behind";
        p->missing = tel_strdup(missing ? missing : "");
        end->partitions[i] = p;
    }
    return end;
}

static tel_code shard_search(void *ctx, const request *req, struct local_search *out,
                             search_end **ret_end, struct tel_error *err)
{
    struct memory_shard *s = ctx;
    atomic_fetch_add(&s->searches, 1);
    if (s->refuse)
        return tel_error_set(err, TEL_ERR_UNAVAILABLE, "%s: refused", s->address);
    if (s->hang)
        return hang(s, out, err);
    struct run r = {.shard = s, .out = out};
    struct tel_arena arena = {0};
    tel_code rc = run_query(&r, req, &arena, err);
    tel_arena_free(&arena);
    if (rc == TEL_OK)
        *ret_end = make_end(s, req);
    return rc;
}

static tel_code shard_status(void *ctx, const Telescope__Shard__V1__StatusRequest *req,
                             Telescope__Shard__V1__StatusResponse **ret, struct tel_error *err)
{
    (void)req;
    struct memory_shard *s = ctx;
    atomic_fetch_add(&s->statuses, 1);
    if (s->refuse || s->hang)
        return tel_error_set(err, TEL_ERR_UNAVAILABLE, "%s: refused", s->address);
    Telescope__Shard__V1__StatusResponse *res = tel_malloc(sizeof(*res));
    telescope__shard__v1__status_response__init(res);
    res->node = tel_strdup(s->address);
    res->version = tel_strdup("test");
    res->n_partitions = s->partition_count;
    res->partitions = tel_calloc(s->partition_count, sizeof(*res->partitions));
    for (size_t i = 0; i < s->partition_count; i++) {
        Telescope__Shard__V1__PartitionInfo *p = tel_malloc(sizeof(*p));
        telescope__shard__v1__partition_info__init(p);
        p->state = tel_malloc(sizeof(*p->state));
        telescope__shard__v1__partition_state__init(p->state);
        p->state->partition = s->partitions[i];
        p->state->lag_ms = s->lag_ms;
        p->state->missing = tel_strdup("");
        const char *missing = s->missing;
        p->error = tel_strdup(i == 0 && missing ? missing : "");
        p->events = 7;
        res->partitions[i] = p;
    }
    *ret = res;
    return TEL_OK;
}

/* ---- the cluster -------------------------------------------------------------------------------
 */

static void must(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK) {
        fprintf(stderr, "memory cluster: %s\n", err->text);
        abort();
    }
}

void memory_cluster_start(struct memory_cluster *c, const struct memory_event *events, size_t count,
                          const char *const *holdings, const struct router_options *options)
{
    static const char *const names[] = {"a:1", "b:1", "c:1", "d:1", "e:1", "f:1", "g:1", "h:1"};
    struct tel_error err;
    memset(c, 0, sizeof(*c));
    must(shard_client_local_new(16, &c->local, &err), &err);
    c->map = shard_map_new(0);
    for (; holdings[c->shard_count]; c->shard_count++) {
        struct memory_shard *s = &c->shards[c->shard_count];
        s->events = events;
        s->event_count = count;
        s->address = names[c->shard_count];
        struct tel_span rest = tel_span_cstr(holdings[c->shard_count]);
        while (rest.len > 0) {
            unsigned long long p = 0;
            struct tel_span item = tel_span_split(&rest, ',');
            if (!tel_span_to_u64(item, &p))
                abort();
            s->partitions[s->partition_count++] = (uint32_t)p;
            must(shard_map_add(c->map, (uint32_t)p, s->address, &err), &err);
        }
        shard_client_local_add(c->local, s->address,
                               &(struct local_shard){shard_search, shard_status, s});
    }
    struct router_options o = options ? *options : (struct router_options){0};
    c->router = router_new(&o, shard_client_local_client(c->local), c->map, NULL);
    /* Tests rely on who is asked first: the first in the list of replicas. */
    c->router->turn = 0;
}

void memory_cluster_stop(struct memory_cluster *c)
{
    router_free(c->router);
    struct shard_client *client = shard_client_local_client(c->local);
    client->ops->free(client);
    shard_map_unref(c->map);
}

struct memory_event *memory_events(size_t count, uint32_t partitions, uint64_t seed)
{
    static const char *const apps[] = {"nginx", "sshd", "cron", "kernel"};
    static const char *const hosts[] = {"h1", "h2", "h3"};
    static const char *const words[] = {"error while reading", "connection closed", "all is fine",
                                        "warning: slow"};
    struct tel_rand r;
    tel_rand_init(&r, seed);
    struct memory_event *e = calloc(count + 1, sizeof(*e));
    int64_t *offsets = calloc(partitions, sizeof(*offsets));
    for (size_t i = 0; i < count; i++) {
        uint32_t p = (uint32_t)tel_rand_below(&r, partitions);
        /* few different times, so that ties are common */
        e[i].key = (struct tel_row_key){
            .time_ns = TEL_NS_PER_S * (int64_t)(1000000 + tel_rand_below(&r, count / 8 + 1)),
            .partition = p,
            .offset = offsets[p] / 3,
            .index = (uint32_t)(offsets[p] % 3)};
        offsets[p]++;
        e[i].msg = words[tel_rand_below(&r, 4)];
        e[i].app = apps[tel_rand_below(&r, 4)];
        e[i].host = hosts[tel_rand_below(&r, 3)];
    }
    free(offsets);
    return e;
}

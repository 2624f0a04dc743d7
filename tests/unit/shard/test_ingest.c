/*
 * Ingest, message by message: what is a repeat, what a replay does, what a failed write leaves, gaps,
 * and a queue that comes back empty. The partition is fed by hand where the moment matters, and by a
 * queue that a script holds where its thread matters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/record/codec.h"
#include "common/sys/fs.h"
#include "common/transport/transport.h"
#include "shard/query/search.h"
#include "shard/store/fault.h"
#include "shard/store/ldb.h"

#define BASE (20400 * TEL_NS_PER_DAY)

/* ---- a queue in memory, and a transport over it ------------------------------------------------- */

struct queue {
    struct tel_transport transport;
    struct tel_mutex lock;
    TEL_VEC(char *) values;
    TEL_VEC(size_t) lengths;
    int64_t low; /* offsets are low, low+1, ... */
    int64_t released;
    bool unavailable;
};

struct reader {
    struct tel_consumer consumer;
    struct queue *queue;
    int64_t next;
    uint64_t mark; /* of the message before, until it was compared */
    struct tel_message message;
    char *copy;
};

static uint64_t q_mark(const struct queue *q, size_t i)
{
    return tel_hash64(tel_span_make(q->values.items[i], q->lengths.items[i]), 1);
}

static tel_code q_consumer(struct tel_transport *t, uint32_t partition, int64_t start,
                           uint64_t mark, struct tel_consumer **ret, struct tel_error *err)
{
    (void)partition;
    (void)err;
    struct reader *r = TEL_NEW(struct reader);
    r->consumer.ops = t->ops;
    r->queue = TEL_CONTAINER_OF(t, struct queue, transport);
    r->next = start;
    r->mark = mark;
    *ret = &r->consumer;
    return TEL_OK;
}

static tel_code q_poll(struct tel_consumer *c, int timeout_ms, size_t max,
                       const struct tel_message **ret, size_t *ret_count, int64_t *ret_gap_to,
                       struct tel_error *err)
{
    struct reader *r = TEL_CONTAINER_OF(c, struct reader, consumer);
    struct queue *q = r->queue;
    (void)max;
    tel_mutex_lock(&q->lock);
    int64_t high = q->low + (int64_t)q->values.len;
    tel_code rc = TEL_OK;
    *ret_count = 0;
    if (q->unavailable) {
        rc = tel_error_set(err, TEL_ERR_UNAVAILABLE, "the queue is away");
    } else if (r->next < q->low || r->next > high) {
        *ret_gap_to = r->next < q->low ? q->low : high;
        rc = tel_error_set(err, TEL_ERR_GAP, "gap");
    } else if (r->mark && r->next > q->low &&
               r->mark != q_mark(q, (size_t)(r->next - 1 - q->low))) {
        *ret_gap_to = q->low;
        rc = tel_error_set(err, TEL_ERR_GAP, "another log");
    } else if (r->next < high) {
        r->mark = 0;
        size_t i = (size_t)(r->next - q->low);
        free(r->copy);
        r->copy = tel_malloc(q->lengths.items[i]);
        memcpy(r->copy, q->values.items[i], q->lengths.items[i]);
        r->message = (struct tel_message){.offset = r->next++,
                                          .timestamp_ns = BASE,
                                          .mark = q_mark(q, i),
                                          .value = {r->copy, q->lengths.items[i]}};
        *ret = &r->message;
        *ret_count = 1;
    }
    tel_mutex_unlock(&q->lock);
    if (rc == TEL_OK && *ret_count == 0) {
        struct timespec ts = {0, TEL_MIN(timeout_ms, 2) * 1000000};
        nanosleep(&ts, NULL);
    }
    return rc;
}

static tel_code q_seek(struct tel_consumer *c, int64_t offset, struct tel_error *err)
{
    (void)err;
    struct reader *r = TEL_CONTAINER_OF(c, struct reader, consumer);
    r->next = offset;
    r->mark = 0;
    return TEL_OK;
}

static void q_watermarks(const struct tel_consumer *c, int64_t *low, int64_t *high)
{
    struct queue *q = TEL_CONTAINER_OF(c, const struct reader, consumer)->queue;
    tel_mutex_lock(&q->lock);
    *low = q->low;
    *high = q->low + (int64_t)q->values.len;
    tel_mutex_unlock(&q->lock);
}

static void q_release(struct tel_consumer *c, int64_t offset)
{
    struct queue *q = TEL_CONTAINER_OF(c, struct reader, consumer)->queue;
    tel_mutex_lock(&q->lock);
    q->released = offset;
    tel_mutex_unlock(&q->lock);
}

static void q_consumer_free(struct tel_consumer *c)
{
    struct reader *r = TEL_CONTAINER_OF(c, struct reader, consumer);
    free(r->copy);
    free(r);
}

static const struct tel_transport_ops queue_ops = {
    .name = "script",
    .consumer = q_consumer,
    .poll = q_poll,
    .seek = q_seek,
    .watermarks = q_watermarks,
    .release = q_release,
    .consumer_free = q_consumer_free,
};

static void queue_clear(struct queue *q)
{
    for (size_t i = 0; i < q->values.len; i++)
        free(q->values.items[i]);
    q->values.len = q->lengths.len = 0;
}

/* ---- a partition under test --------------------------------------------------------------------- */

struct bench {
    uint64_t segment_rows; /* 0: many */
    char dir[64];
    struct ldb_shared *shared;
    struct queue queue;
    struct partition *partition;
    struct cache *cache;
    struct pool *pool;
    struct store_faults faults;
    struct tel_rand rand;
    unsigned fail_in; /* one step in so many fails; 0: none */
    unsigned fail_next;
    enum store_step fail_step;
    bool threaded;
    int bury_fails;
    unsigned buried;
};

static tel_code bench_step(void *ctx, enum store_step step, struct tel_error *err)
{
    struct bench *b = ctx;
    if (!err)
        return TEL_OK;
    bool fail = b->fail_in && tel_rand_below(&b->rand, b->fail_in) == 0;
    if (b->fail_next && step == b->fail_step && --b->fail_next == 0)
        fail = true;
    return fail ? tel_error_set(err, TEL_ERR_IO, "made to fail") : TEL_OK;
}

static tel_code bury(void *ctx, const struct tel_message *message, const struct tel_error *why,
                     struct tel_error *err)
{
    struct bench *b = ctx;
    (void)message;
    (void)why;
    if (b->bury_fails > 0) {
        b->bury_fails--;
        return tel_error_set(err, TEL_ERR_UNAVAILABLE, "no undertaker");
    }
    b->buried++;
    return TEL_OK;
}

static void bench_open(struct bench *b)
{
    struct partition_options options = {
        .id = 0,
        .dir = b->dir,
        .shared = b->shared,
        .clock = tel_clock_system(),
        .transport = b->threaded ? &b->queue.transport : NULL,
        .bury = bury,
        .bury_ctx = b,
        .limits = {.memory_bytes = 64 << 20,
                   .segment_rows = b->segment_rows ? b->segment_rows : 1 << 20,
                   .flush_interval_ms = 1u << 30,
                   .flush_interval_max_ms = 1u << 30,
                   .chunk_interval_ms = 5,
                   .future_policy = SHARD_KEEP},
        .faults = &b->faults,
    };
    struct tel_error err = {0};
    if (partition_new(&options, &b->partition, &err) != TEL_OK)
        fail_msg("partition_new: %s", err.text);
    b->cache = cache_new(1 << 20);
    if (b->threaded)
        assert_int_equal(partition_start(b->partition, &err), TEL_OK);
}

/* flush false: as a crash, what is in memory is gone. */
static void bench_close(struct bench *b, bool flush)
{
    if (b->threaded) {
        partition_stop(b->partition, flush);
        partition_join(b->partition);
    }
    cache_free(b->cache);
    partition_free(b->partition);
    b->partition = NULL;
}

static void bench_begin(struct bench *b, uint64_t seed, bool threaded)
{
    memset(b, 0, sizeof(*b));
    snprintf(b->dir, sizeof(b->dir), "/tmp/tel-ingest-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    b->shared = ldb_shared_new(1 << 20);
    b->faults = (struct store_faults){bench_step, b};
    b->threaded = threaded;
    tel_rand_init(&b->rand, seed);
    tel_mutex_init(&b->queue.lock);
    b->queue.transport.ops = &queue_ops;
    assert_int_equal(pool_new(0, &b->pool, NULL), TEL_OK);
    bench_open(b);
}

static void bench_end(struct bench *b)
{
    bench_close(b, false);
    pool_free(b->pool);
    ldb_shared_free(b->shared);
    queue_clear(&b->queue);
    tel_vec_free(&b->queue.values);
    tel_vec_free(&b->queue.lengths);
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), b->dir, NULL), TEL_OK);
}

/* Appends a message of events of a source: positions [from, from + count), over `days` days. */
static void put(struct bench *b, const char *source, uint64_t from, uint32_t count, unsigned days)
{
    struct tel_event events[64] = {{0}};
    char bodies[64][48];
    for (uint32_t i = 0; i < count; i++) {
        uint64_t id = from + i;
        int len = snprintf(bodies[i], sizeof(bodies[i]), "%s-%llu", source, (unsigned long long)id);
        events[i] = (struct tel_event){
            .timestamp_ns = BASE + (int64_t)(id * 7 % days) * TEL_NS_PER_DAY + (int64_t)id,
            .position = id,
            .body = {bodies[i], (size_t)len}};
    }
    struct tel_batch batch = {.tenant = TEL_SPAN("default"),
                              .source = tel_span_cstr(source),
                              .events = events,
                              .event_count = count};
    struct tel_record_framing framing = {.frame = TEL_RECORD_SINGLE_OBJECT};
    struct tel_buf buf = {0};
    assert_int_equal(tel_record_encode(&batch, &framing, &buf, NULL), TEL_OK);
    tel_mutex_lock(&b->queue.lock);
    tel_vec_push(&b->queue.values, buf.ptr);
    tel_vec_push(&b->queue.lengths, buf.len);
    tel_mutex_unlock(&b->queue.lock);
}

static tel_code feed(struct bench *b, int64_t offset)
{
    size_t i = (size_t)(offset - b->queue.low);
    struct tel_message m = {.offset = offset,
                            .timestamp_ns = BASE,
                            .value = {b->queue.values.items[i], b->queue.lengths.items[i]}};
    struct tel_error err;
    return partition_feed(b->partition, &m, &err);
}

/* ---- what is found ------------------------------------------------------------------------------ */

static tel_code take(void *ctx, Telescope__Shard__V1__RowBatch *batch, struct tel_error *err)
{
    struct tel_map *bodies = ctx;
    (void)err;
    for (size_t c = 0; c < batch->n_columns; c++) {
        const char *at = (const char *)batch->columns[c]->data.data;
        if (strcmp(batch->columns[c]->name, "_msg") != 0)
            continue;
        for (size_t i = 0; i < batch->rows; at += batch->columns[c]->lengths[i++])
            ++*tel_map_put(bodies, tel_span_make(at, batch->columns[c]->lengths[i]), NULL);
    }
    protobuf_c_message_free_unpacked(&batch->base, NULL);
    return TEL_OK;
}

/* All bodies with how often they are there; returns how many differ. */
static size_t find_all(struct bench *b, struct tel_map *bodies)
{
    struct search_env env = {.partitions = &b->partition,
                             .partition_count = 1,
                             .cache = b->cache,
                             .pool = b->pool,
                             .memory_limit = 64 << 20};
    uint32_t id = 0;
    Telescope__Shard__V1__SearchRequest r = TELESCOPE__SHARD__V1__SEARCH_REQUEST__INIT;
    r.tenant = (char *)(uintptr_t)"default";
    r.query = (char *)(uintptr_t)"*";
    r.partitions = &id;
    r.n_partitions = 1;
    Telescope__Shard__V1__SearchEnd *end;
    struct tel_error err = {0};
    struct shard_sink sink = {bodies, take, NULL};
    tel_map_clear(bodies);
    if (b->partition && !b->threaded) /* fed by hand: what is open is not visible yet */
        partition_show(b->partition);
    if (search_run(&env, &r, &sink, &end, &err) != TEL_OK)
        fail_msg("search: %s", err.text);
    assert_string_equal(end->partitions[0]->missing, "");
    protobuf_c_message_free_unpacked(&end->base, NULL);
    size_t pos = 0;
    for (struct tel_map_slot *slot; (slot = tel_map_next(bodies, &pos));)
        if (slot->value != 1)
            fail_msg("%.*s is there %llu times", TEL_SPAN_ARG(slot->key),
                     (unsigned long long)slot->value);
    return bodies->len;
}

static void await_found(struct bench *b, size_t want)
{
    struct tel_map bodies;
    tel_map_init(&bodies);
    int64_t deadline = tel_mono_ns(tel_clock_system()) + 10 * TEL_NS_PER_S;
    size_t got = 0;
    while ((got = find_all(b, &bodies)) != want && tel_mono_ns(tel_clock_system()) < deadline) {
        struct timespec ts = {0, 2000000};
        nanosleep(&ts, NULL);
    }
    tel_map_free(&bodies);
    assert_int_equal(got, want);
}

/* ---- tests -------------------------------------------------------------------------------------- */

/*
 * Against a model: sources send, and send again from somewhere before; the partition is closed with
 * and without a flush, writes fail now and then; each time reading goes on at the resume offset. At
 * any moment the partition shows what the model says, each once.
 */
static void test_model(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed() >> 32;
    printf("[ seed     ] %llu\n", (unsigned long long)seed);
    struct bench b;
    bench_begin(&b, seed, false);
    struct tel_rand r;
    tel_rand_init(&r, seed ^ 1);
    uint64_t next[8];
    for (size_t i = 0; i < 8; i++)
        next[i] = 1;
    struct tel_map bodies;
    tel_map_init(&bodies);
    int64_t at = 0;
    for (unsigned round = 0; round < 150; round++) {
        for (uint64_t n = tel_rand_below(&r, 30); n > 0; n--) {
            size_t s = (size_t)tel_rand_below(&r, 8);
            char name[8];
            snprintf(name, sizeof(name), "s%zu", s);
            uint64_t back = tel_rand_below(&r, 3) ? 0 : tel_rand_below(&r, 100);
            uint64_t from = next[s] > back ? next[s] - back : 1;
            uint32_t count = 1 + (uint32_t)tel_rand_below(&r, 64);
            put(&b, name, from, count, 1 + (unsigned)tel_rand_below(&r, 4));
            next[s] = TEL_MAX(next[s], from + count);
        }
        int64_t high = (int64_t)b.queue.values.len;
        while (at < high)
            assert_int_equal(feed(&b, at++), TEL_OK);
        size_t want = 0;
        for (size_t i = 0; i < 8; i++)
            want += (size_t)(next[i] - 1);
        assert_int_equal(find_all(&b, &bodies), want);
        b.fail_in = tel_rand_below(&r, 2) ? 3 : 0;
        if (tel_rand_below(&r, 2) && partition_flush(b.partition, NULL) != TEL_OK &&
            tel_rand_below(&r, 2)) {
            /* A failed flush hides nothing and shows nothing twice; and can be tried again. */
            assert_int_equal(find_all(&b, &bodies), want);
            b.fail_in = 0;
            assert_int_equal(partition_flush(b.partition, NULL), TEL_OK);
        }
        assert_int_equal(find_all(&b, &bodies), want);
        b.fail_in = 0;
        if (tel_rand_below(&r, 3) == 0) {
            bench_close(&b, false);
            bench_open(&b);
            at = store_resume_get(partition_store(b.partition)).position.offset;
            assert_true(at <= high);
        }
    }
    tel_map_free(&bodies);
    bench_end(&b);
}

/* The second of three days cannot be written: nothing is lost, hidden or doubled meanwhile, nor when
 * the process ends there. */
/* A flush fails at its step-th commit; over `days` days it has `commits` of days. */
static void fail_at(unsigned days, unsigned commits, unsigned step, bool crash)
{
    struct bench b;
    struct tel_map bodies;
    tel_map_init(&bodies);
    bench_begin(&b, 1, false);
    put(&b, "a", 1, 60, days);
    assert_int_equal(feed(&b, 0), TEL_OK);
    b.fail_step = step <= commits ? STORE_STEP_DAY_COMMIT : STORE_STEP_META_COMMIT;
    b.fail_next = step <= commits ? step : 1;
    assert_int_equal(partition_flush(b.partition, NULL), TEL_ERR_IO);
    assert_int_equal(find_all(&b, &bodies), 60);
    put(&b, "a", 61, 3, days);
    assert_int_equal(feed(&b, 1), TEL_OK);
    assert_int_equal(find_all(&b, &bodies), 63);
    if (crash) {
        bench_close(&b, false);
        bench_open(&b);
        assert_int_equal(store_resume_get(partition_store(b.partition)).position.offset, 0);
        assert_int_equal(feed(&b, 0), TEL_OK);
        assert_int_equal(find_all(&b, &bodies), 60);
        assert_int_equal(feed(&b, 1), TEL_OK);
    }
    assert_int_equal(partition_flush(b.partition, NULL), TEL_OK);
    assert_int_equal(find_all(&b, &bodies), 63);
    struct partition_status status;
    partition_status(b.partition, &status);
    assert_int_equal(status.memory_rows, 0);
    assert_string_equal(status.error, "");
    bench_close(&b, false);
    bench_open(&b);
    assert_int_equal(find_all(&b, &bodies), 63);
    tel_map_free(&bodies);
    bench_end(&b);
}

/* Nine days are four of their own and one commit for the others. */
static void test_half_flush(void **state)
{
    (void)state;
    for (int crash = 0; crash < 2; crash++) {
        for (unsigned step = 1; step <= 4; step++)
            fail_at(3, 3, step, crash);
        for (unsigned step = 1; step <= 6; step++)
            fail_at(9, 5, step, crash);
    }
}

static void test_gap(void **state)
{
    (void)state;
    struct bench b;
    bench_begin(&b, 1, true);
    for (unsigned i = 0; i < 10; i++)
        put(&b, "a", i * 10 + 1, 10, 1);
    await_found(&b, 100);
    bench_close(&b, true);
    assert_int_equal(b.queue.released, 10);
    /* Messages 10 to 24 expire before we are back. */
    queue_clear(&b.queue);
    b.queue.low = 25;
    put(&b, "a", 1001, 5, 1);
    bench_open(&b);
    await_found(&b, 105);
    struct partition_status status;
    partition_status(b.partition, &status);
    assert_int_equal(status.counters.gap_messages, 15);
    bench_close(&b, true);
    bench_open(&b);
    struct store_gap gaps[4];
    assert_int_equal(store_gaps(partition_store(b.partition), gaps, 4), 1);
    assert_int_equal(gaps[0].from, 10);
    assert_int_equal(gaps[0].to, 25);
    partition_status(b.partition, &status);
    assert_int_equal(status.counters.gap_messages, 15);
    bench_end(&b);
}

/* The queue comes back empty and counts from 0 again: watermarks of before mean nothing for it. */
static void test_empty_again(void **state)
{
    (void)state;
    struct bench b;
    bench_begin(&b, 1, true);
    for (unsigned i = 0; i < 10; i++)
        put(&b, "a", i * 10 + 1, 10, 2);
    await_found(&b, 100);
    tel_mutex_lock(&b.queue.lock);
    queue_clear(&b.queue);
    tel_mutex_unlock(&b.queue.lock);
    struct partition_status status;
    do
        partition_status(b.partition, &status);
    while (status.visible.epoch == 0);
    put(&b, "a", 101, 10, 2);
    put(&b, "a", 91, 20, 2); /* the same again */
    await_found(&b, 110);
    for (int again = 0; again < 2; again++) {
        bench_close(&b, again == 1);
        bench_open(&b);
        await_found(&b, 110);
    }
    struct store_resume resume = store_resume_get(partition_store(b.partition));
    assert_int_equal(resume.position.epoch, 1);
    assert_int_equal(resume.position.offset, 2);
    bench_end(&b);
}

/* The queue was made anew and filled beyond where we stood before we came back: the same offsets, other
 * messages. Not one of them may be passed over. */
static void test_another_log(void **state)
{
    (void)state;
    struct bench b;
    bench_begin(&b, 1, true);
    for (unsigned i = 0; i < 10; i++)
        put(&b, "a", i * 10 + 1, 10, 2);
    await_found(&b, 100);
    bench_close(&b, true);
    bench_open(&b); /* the same log is no gap */
    await_found(&b, 100);
    bench_close(&b, true);
    struct partition_status status;
    queue_clear(&b.queue);
    for (unsigned i = 0; i < 20; i++)
        put(&b, "b", i * 10 + 1, 10, 2);
    bench_open(&b);
    await_found(&b, 300);
    partition_status(b.partition, &status);
    assert_int_equal(status.visible.epoch, 1);
    bench_close(&b, true);
    bench_open(&b);
    await_found(&b, 300);
    struct store_gap gaps[2];
    assert_int_equal(store_gaps(partition_store(b.partition), gaps, 2), 1);
    assert_int_equal(gaps[0].from, 10);
    assert_int_equal(gaps[0].to, 0);
    bench_end(&b);
}

/* A queue that is away, and a message that can neither be read nor buried at first. */
static void test_trouble(void **state)
{
    (void)state;
    struct bench b;
    bench_begin(&b, 1, true);
    b.bury_fails = 2;
    put(&b, "a", 1, 3, 1);
    tel_mutex_lock(&b.queue.lock);
    tel_vec_push(&b.queue.values, tel_strdup("garbage"));
    tel_vec_push(&b.queue.lengths, (size_t)7);
    tel_mutex_unlock(&b.queue.lock);
    put(&b, "a", 4, 3, 1);
    await_found(&b, 6);
    tel_mutex_lock(&b.queue.lock);
    b.queue.unavailable = true;
    tel_mutex_unlock(&b.queue.lock);
    struct partition_status status;
    do
        partition_status(b.partition, &status);
    while (status.error[0] == '\0');
    await_found(&b, 6); /* what is there is still found */
    tel_mutex_lock(&b.queue.lock);
    b.queue.unavailable = false;
    tel_mutex_unlock(&b.queue.lock);
    do /* a quiet partition is as well as a busy one */
        partition_status(b.partition, &status);
    while (status.error[0] != '\0');
    put(&b, "a", 7, 3, 1);
    await_found(&b, 9);
    partition_status(b.partition, &status);
    assert_int_equal(status.counters.dead_letters, 1);
    bench_close(&b, false);
    assert_int_equal(b.buried, 1);
    bench_open(&b);
    bench_end(&b);
}

/* Paused for the disk's sake: nothing is read, everything is answered. */
static void test_pause(void **state)
{
    (void)state;
    struct bench b;
    bench_begin(&b, 1, true);
    put(&b, "a", 1, 3, 1);
    await_found(&b, 3);
    partition_pause(b.partition, true);
    struct partition_status status;
    do
        partition_status(b.partition, &status);
    while (!status.paused);
    put(&b, "a", 4, 3, 1);
    do
        partition_status(b.partition, &status);
    while (status.high < 2);
    await_found(&b, 3);
    assert_true(status.lag_ms > 0);
    partition_pause(b.partition, false);
    await_found(&b, 6);
    bench_end(&b);
}

/* What is learnt of lines lies beside the store. It is there after a restart; one that is damaged, or
 * that cannot be written, stops nothing. */
static void test_learnt(void **state)
{
    (void)state;
    struct bench b;
    struct tel_map bodies;
    struct tel_error err = {0};
    struct tel_buf first = {0}, again = {0};
    struct tel_fs *fs = tel_fs_system();
    char path[96];
    tel_map_init(&bodies);
    bench_begin(&b, 1, false);
    bench_close(&b, false);
    b.segment_rows = 3000; /* so few that 30 a day are enough to learn of */
    bench_open(&b);
    snprintf(path, sizeof(path), "%s/learnt", b.dir);
    for (int64_t i = 0; i < 4; i++) {
        put(&b, "src", (uint64_t)i * 60 + 1, 60, 2);
        assert_int_equal(feed(&b, i), TEL_OK);
        assert_int_equal(partition_flush(b.partition, &err), TEL_OK);
        bench_close(&b, false);
        if (i == 1) /* cut short */
            assert_int_equal(tel_fs_write_atomic(fs, path, tel_span_make(first.ptr, first.len / 2),
                                                 &err), TEL_OK);
        if (i == 2) { /* something stands in its place */
            assert_int_equal(tel_fs_remove_all(fs, path, &err), TEL_OK);
            assert_int_equal(tel_fs_mkdir_all(fs, path, &err), TEL_OK);
        }
        bench_open(&b);
        if (i == 0)
            assert_int_equal(tel_fs_read_all(fs, path, SEGMENT_LEARNT_BYTES, &first, &err), TEL_OK);
        assert_int_equal(find_all(&b, &bodies), 60 * (i + 1));
    }
    struct segment_learnt *learnt = segment_learnt_new();
    assert_int_equal(segment_learnt_load(learnt, tel_buf_span(&first), &err), TEL_OK);
    segment_learnt_save(learnt, &again);
    assert_true(tel_span_eq(tel_buf_span(&first), tel_buf_span(&again)));
    assert_true(first.len > 20); /* some lines are in it */
    segment_learnt_free(learnt);
    tel_buf_free(&first);
    tel_buf_free(&again);
    tel_map_free(&bodies);
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),       cmocka_unit_test(test_half_flush),
        cmocka_unit_test(test_gap),         cmocka_unit_test(test_empty_again),
        cmocka_unit_test(test_another_log),
        cmocka_unit_test(test_trouble),     cmocka_unit_test(test_pause),
        cmocka_unit_test(test_learnt),
    };
    tel_log_set_level(getenv("TEST_LOG") ? TEL_LOG_DEBUG : TEL_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

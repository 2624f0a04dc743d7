/*
 * Producers and consumers over journals.
 *
 * A producer's message becomes a node that travels with the record: the journal's writer thread puts
 * it on the producer's list of settled ones, and poll runs its callback on the caller's thread. The
 * producer counts the bytes of its messages until their callbacks have run; that is its budget.
 */
#include "common/transport/transport_journal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/journal/journal.h"
#include "common/sys/fs.h"
#include "common/sys/limits.h"
#include "common/sys/thread.h"

#define PARTITIONS_MAX     1024u
#define DEFAULT_PARTITIONS_MAX 8u
#define PRODUCER_BYTES_MAX (UINT64_C(32) << 20)

struct journal_transport {
    struct tel_transport base;
    struct tel_fs_lock *lock;
    uint32_t partitions;
    struct tel_journal **journals;
};

struct journal_producer;

struct settled {
    struct settled *next;
    struct journal_producer *producer;
    tel_delivery_cb *cb;
    void *ctx;
    uint64_t bytes;
    int64_t offset;
    tel_code code;
    struct tel_error *err; /* NULL when all is well */
};

struct journal_producer {
    struct tel_producer base;
    struct journal_transport *transport;
    struct tel_mutex lock; /* all below */
    struct tel_cond some;
    struct settled *first, **last;
    uint64_t bytes;       /* of messages whose callbacks have not run */
    uint64_t outstanding; /* messages that the journals have not settled */
    uint64_t unrun;       /* messages whose callbacks have not run */
};

struct journal_consumer {
    struct tel_consumer base;
    struct tel_journal *journal;
    struct tel_journal_reader *reader;
    uint32_t partition;
    TEL_VEC(struct tel_message) messages;
};

/* ---- producing ---------------------------------------------------------------------------- */

static tel_code journal_partitions(struct tel_transport *t, int timeout_ms, uint32_t *ret,
                                   struct tel_error *err)
{
    (void)timeout_ms;
    (void)err;
    *ret = ((struct journal_transport *)t)->partitions;
    return TEL_OK;
}

static const struct tel_transport_ops journal_ops;

static tel_code producer_new(struct tel_transport *t, struct tel_producer **ret,
                             struct tel_error *err)
{
    (void)err;
    struct journal_producer *p = TEL_NEW(struct journal_producer);
    p->base.ops = &journal_ops;
    p->transport = (struct journal_transport *)t;
    tel_mutex_init(&p->lock);
    tel_cond_init(&p->some);
    p->last = &p->first;
    *ret = &p->base;
    return TEL_OK;
}

/* The writer thread of a journal. */
static void on_ack(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    struct settled *s = ctx;
    struct journal_producer *p = s->producer;
    s->code = code;
    s->offset = offset;
    if (err) {
        s->err = tel_malloc(sizeof(*s->err));
        *s->err = *err;
    }
    tel_mutex_lock(&p->lock);
    *p->last = s;
    p->last = &s->next;
    p->outstanding--;
    tel_cond_broadcast(&p->some);
    tel_mutex_unlock(&p->lock);
}

static tel_code send_message(struct tel_producer *producer, uint32_t partition, struct tel_span key,
                             struct tel_span value, tel_delivery_cb *cb, void *ctx,
                             struct tel_error *err)
{
    struct journal_producer *p = (struct journal_producer *)producer;
    if (partition >= p->transport->partitions)
        return tel_error_set(err, TEL_ERR_INVALID, "there is no partition %u", partition);
    struct settled *s = TEL_NEW(struct settled);
    s->producer = p;
    s->cb = cb;
    s->ctx = ctx;
    s->bytes = key.len + value.len + sizeof(*s);

    tel_mutex_lock(&p->lock);
    bool full = p->bytes > 0 && p->bytes + s->bytes > PRODUCER_BYTES_MAX;
    if (!full) {
        p->bytes += s->bytes;
        p->outstanding++;
        p->unrun++;
    }
    tel_mutex_unlock(&p->lock);
    if (full) {
        free(s);
        return tel_error_set(err, TEL_ERR_AGAIN, "the producer's queue is full");
    }
    uint64_t bytes = s->bytes; /* from here on the writer may have it */
    tel_code rc = tel_journal_append(p->transport->journals[partition], key, value, on_ack, s, err);
    if (rc != TEL_OK) {
        tel_mutex_lock(&p->lock);
        p->bytes -= bytes;
        p->outstanding--;
        p->unrun--;
        tel_mutex_unlock(&p->lock);
        free(s);
    }
    return rc;
}

static int run_settled(struct journal_producer *p, int64_t deadline)
{
    tel_mutex_lock(&p->lock);
    bool in_time = true;
    while (!p->first && in_time)
        in_time = tel_cond_wait_until(&p->some, &p->lock, deadline);
    struct settled *list = p->first;
    p->first = NULL;
    p->last = &p->first;
    tel_mutex_unlock(&p->lock);

    int ran = 0;
    uint64_t bytes = 0;
    while (list) {
        struct settled *s = list;
        list = s->next;
        if (s->cb)
            s->cb(s->ctx, s->code, s->offset, s->err);
        bytes += s->bytes;
        ran++;
        free(s->err);
        free(s);
    }
    tel_mutex_lock(&p->lock);
    p->bytes -= bytes;
    p->unrun -= (uint64_t)ran;
    if (ran > 0)
        tel_cond_broadcast(&p->some);
    tel_mutex_unlock(&p->lock);
    return ran;
}

static int producer_poll(struct tel_producer *producer, int timeout_ms)
{
    return run_settled((struct journal_producer *)producer, tel_deadline_ms(timeout_ms));
}

static tel_code producer_flush(struct tel_producer *producer, int timeout_ms, struct tel_error *err)
{
    struct journal_producer *p = (struct journal_producer *)producer;
    int64_t deadline = tel_deadline_ms(timeout_ms);
    for (;;) {
        tel_mutex_lock(&p->lock);
        bool in_time = true;
        while (p->unrun > 0 && !p->first && in_time) /* others may be running the rest */
            in_time = tel_cond_wait_until(&p->some, &p->lock, deadline);
        uint64_t left = p->unrun;
        bool runnable = p->first != NULL;
        tel_mutex_unlock(&p->lock);
        if (left == 0)
            return TEL_OK;
        if (runnable)
            (void)run_settled(p, 0);
        else if (!in_time)
            return tel_error_set(err, TEL_ERR_TIMEOUT, "%llu messages are not settled yet",
                                 (unsigned long long)left);
    }
}

static void producer_free(struct tel_producer *producer)
{
    struct journal_producer *p = (struct journal_producer *)producer;
    /* The journals hold pointers to our nodes until they have settled them; they always do. */
    tel_mutex_lock(&p->lock);
    while (p->outstanding > 0)
        tel_cond_wait(&p->some, &p->lock);
    tel_mutex_unlock(&p->lock);
    (void)run_settled(p, 0);
    tel_cond_done(&p->some);
    tel_mutex_done(&p->lock);
    free(p);
}

/* ---- consuming ---------------------------------------------------------------------------- */

static tel_code consumer_new(struct tel_transport *t, uint32_t partition, int64_t start, uint64_t mark,
                             struct tel_consumer **ret, struct tel_error *err)
{
    (void)mark; /* a journal is not made anew behind its reader's back: both are in one folder */
    struct journal_transport *jt = (struct journal_transport *)t;
    if (partition >= jt->partitions)
        return tel_error_set(err, TEL_ERR_INVALID, "there is no partition %u", partition);
    struct journal_consumer *c = TEL_NEW(struct journal_consumer);
    c->base.ops = &journal_ops;
    c->journal = jt->journals[partition];
    c->partition = partition;
    c->reader = tel_journal_reader_open(c->journal, start);
    *ret = &c->base;
    return TEL_OK;
}

static tel_code consumer_poll(struct tel_consumer *consumer, int timeout_ms, size_t max,
                              const struct tel_message **ret_messages, size_t *ret_count,
                              int64_t *ret_gap_to, struct tel_error *err)
{
    struct journal_consumer *c = (struct journal_consumer *)consumer;
    const struct tel_journal_record *records = NULL;
    size_t count = 0;
    tel_code rc = tel_journal_read(c->reader, timeout_ms, max, &records, &count, ret_gap_to, err);
    if (rc == TEL_ERR_CORRUPT) { /* missing all the same; the text says why */
        if (err)
            err->code = TEL_ERR_GAP;
        return TEL_ERR_GAP;
    }
    if (rc != TEL_OK)
        return rc;
    tel_vec_clear(&c->messages);
    tel_vec_reserve(&c->messages, count);
    for (size_t i = 0; i < count; i++)
        c->messages.items[i] = (struct tel_message){
            .partition = c->partition,
            .offset = records[i].offset,
            .timestamp_ns = records[i].timestamp_ns,
            .key = records[i].key,
            .value = records[i].value,
        };
    c->messages.len = count;
    *ret_messages = c->messages.items;
    *ret_count = count;
    return TEL_OK;
}

static tel_code consumer_seek(struct tel_consumer *consumer, int64_t offset, struct tel_error *err)
{
    (void)err;
    tel_journal_reader_seek(((struct journal_consumer *)consumer)->reader, offset);
    return TEL_OK;
}

static void consumer_watermarks(const struct tel_consumer *consumer, int64_t *ret_low,
                                int64_t *ret_high)
{
    tel_journal_watermarks(((const struct journal_consumer *)consumer)->journal, ret_low, ret_high);
}

static void consumer_release(struct tel_consumer *consumer, int64_t offset)
{
    tel_journal_release(((struct journal_consumer *)consumer)->reader, offset);
}

static void consumer_free(struct tel_consumer *consumer)
{
    struct journal_consumer *c = (struct journal_consumer *)consumer;
    tel_journal_reader_close(c->reader);
    tel_vec_free(&c->messages);
    free(c);
}

/* ---- the transport ------------------------------------------------------------------------ */

static void transport_free(struct tel_transport *t)
{
    struct journal_transport *jt = (struct journal_transport *)t;
    for (uint32_t i = 0; jt->journals && i < jt->partitions; i++)
        tel_journal_close(jt->journals[i]);
    tel_fs_unlock(jt->lock);
    free(jt->journals);
    free(jt);
}

static const struct tel_transport_ops journal_ops = {
    .name = "journal",
    .partitions = journal_partitions,
    .producer = producer_new,
    .send = send_message,
    .producer_poll = producer_poll,
    .flush = producer_flush,
    .producer_free = producer_free,
    .consumer = consumer_new,
    .poll = consumer_poll,
    .seek = consumer_seek,
    .watermarks = consumer_watermarks,
    .release = consumer_release,
    .consumer_free = consumer_free,
    .free = transport_free,
};

static char *join(const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *path = tel_malloc(n);
    snprintf(path, n, "%s/%s", dir, name);
    return path;
}

/* DIR/PARTITIONS holds their number: a source is bound to its partition by it. */
static tel_code fix_partitions(struct tel_fs *fs, const char *dir, uint32_t want, uint32_t *ret,
                               struct tel_error *err)
{
    char *path = join(dir, "PARTITIONS");
    struct tel_buf text = {0};
    unsigned long long have = 0;
    tel_code rc = tel_fs_read_all(fs, path, 64, &text, err);
    if (rc == TEL_ERR_NOTFOUND) {
        have = want ? want : TEL_MIN(tel_limits_cpus(), DEFAULT_PARTITIONS_MAX);
        tel_buf_clear(&text);
        tel_buf_printf(&text, "%llu\n", have);
        rc = tel_fs_write_atomic(fs, path, tel_buf_span(&text), err);
    } else if (rc == TEL_OK && (!tel_span_to_u64(tel_span_trim(tel_buf_span(&text)), &have) ||
                                have == 0 || have > PARTITIONS_MAX)) {
        rc = tel_error_set(err, TEL_ERR_CORRUPT, "%s is not a number of partitions", path);
    } else if (rc == TEL_OK && want && have != want) {
        rc = tel_error_set(err, TEL_ERR_INVALID, "%s has %llu partitions, which cannot become %u", dir,
                           have, want);
    }
    if (rc == TEL_OK)
        *ret = (uint32_t)have;
    tel_buf_free(&text);
    free(path);
    return rc;
}

static tel_code open_journals(struct journal_transport *t,
                              const struct tel_transport_journal_options *o, struct tel_error *err)
{
    tel_code rc = TEL_OK;
    for (uint32_t i = 0; i < t->partitions && rc == TEL_OK; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%u", i);
        char *dir = join(o->dir, name);
        struct tel_journal_options jo = {
            .fs = o->fs,
            .dir = dir,
            .budget_bytes = o->partition_bytes,
            .disk_reserve_bytes = o->disk_reserve_bytes,
            .sync_interval_ms = o->sync_interval_ms,
        };
        rc = tel_journal_open(&jo, &t->journals[i], err);
        free(dir);
    }
    return rc;
}

tel_code tel_transport_journal_new(const struct tel_transport_journal_options *o,
                                   struct tel_transport **ret, struct tel_error *err)
{
    if (o->partitions > PARTITIONS_MAX)
        return tel_error_set(err, TEL_ERR_INVALID, "%u partitions: at most %u are possible",
                             o->partitions, PARTITIONS_MAX);
    struct tel_fs *fs = o->fs ? o->fs : tel_fs_system();
    struct journal_transport *t = TEL_NEW(struct journal_transport);
    t->base.ops = &journal_ops;
    tel_code rc = tel_fs_mkdir_all(fs, o->dir, err);
    if (rc == TEL_OK) {
        char *path = join(o->dir, "LOCK");
        rc = tel_fs_lock(path, &t->lock, err);
        free(path);
    }
    if (rc == TEL_OK)
        rc = fix_partitions(fs, o->dir, o->partitions, &t->partitions, err);
    if (rc == TEL_OK) {
        t->journals = tel_calloc(t->partitions, sizeof(*t->journals));
        rc = open_journals(t, o, err);
    }
    if (rc != TEL_OK) {
        transport_free(&t->base);
        return rc;
    }
    *ret = &t->base;
    return TEL_OK;
}

void tel_transport_journal_stats(struct tel_transport *t, uint32_t partition,
                                 struct tel_journal_stats *ret)
{
    struct journal_transport *jt = (struct journal_transport *)t;
    TEL_CHECK(t->ops == &journal_ops && partition < jt->partitions);
    tel_journal_stats(jt->journals[partition], ret);
}

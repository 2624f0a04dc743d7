#include "sidecar/spool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/journal/journal.h"
#include "common/sys/thread.h"
#include "sidecar/checkpoint.h"

#define TEL_LOG_COMPONENT "spool"
#include "common/base/log.h"

#define WINDOW_MAX       256u
#define WINDOW_BYTES_MAX ((size_t)4 << 20)
#define READ_MS          50
#define RETRY_NS         (500 * TEL_NS_PER_MS)
#define PARTITION_BYTES  4u /* before the source in a record's key */

enum letter_state { LETTER_UNSENT, LETTER_SENT, LETTER_DONE };

/* A message between the journal and the transport behind. */
struct letter {
    struct spool *spool;
    struct letter *next;
    int64_t offset;
    uint32_t partition;
    char *bytes; /* key and value */
    struct tel_span key, value;
    int64_t retry_ns;
    enum letter_state state; /* changed by the forwarder only: callbacks run in its poll */
    bool dropped;            /* by the policy, while it was in flight */
};

struct spool {
    struct tel_transport base;
    struct tel_transport *inner;
    struct tel_journal *journal;
    enum spool_policy policy;

    struct tel_thread thread;
    _Atomic bool stopping, want_room;
    /* The forwarder's: */
    struct tel_producer *out;
    struct tel_journal_reader *reader;
    struct checkpoint *checkpoint;
    struct checkpoint_entry *entry; /* its position is `released` */
    struct letter *first, *last; /* the window, by offset */
    size_t window, window_bytes;
    int64_t next; /* offset to be read */
    struct letter *ahead; /* read, but a letter of its source is in the window */

    _Atomic int64_t released; /* everything below has met its fate */
    _Atomic uint64_t forwarded, dropped, refused;
};

/* A producer for pipelines: appends, and tells in poll what became durable. */
struct fate {
    tel_delivery_cb *cb;
    void *ctx;
    struct spool_producer *producer;
    struct fate *next;
    int64_t offset;
    struct tel_error err; /* code TEL_OK: durable */
};

struct spool_producer {
    struct tel_producer base;
    struct spool *spool;
    struct tel_mutex lock; /* guards what follows */
    struct tel_cond told;
    struct fate *first, *last;
    size_t open; /* appended, not told yet */
};

static struct spool *spool_of(struct tel_transport *base)
{
    return TEL_CONTAINER_OF(base, struct spool, base);
}

static struct spool_producer *producer_of(struct tel_producer *base)
{
    return TEL_CONTAINER_OF(base, struct spool_producer, base);
}

/* ---- the producer's side ---------------------------------------------------------------------- */

static void tell(struct spool_producer *p, struct fate *f)
{
    tel_mutex_lock(&p->lock);
    *(p->last ? &p->last->next : &p->first) = f;
    p->last = f;
    tel_cond_signal(&p->told);
    tel_mutex_unlock(&p->lock);
}

/* On the journal's thread. */
static void on_durable(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    struct fate *f = ctx;
    f->offset = offset;
    if (code != TEL_OK)
        f->err = *err;
    tell(f->producer, f);
}

static tel_code when_full(struct spool_producer *p, struct fate *f, struct tel_error *err)
{
    struct spool *s = p->spool;
    if (s->policy == SPOOL_DROP_NEWEST) {
        tel_log_warn("the spool is full: what comes is dropped", tel_kv_error(err));
        atomic_fetch_add(&s->dropped, 1);
        f->offset = -1;
        tell(p, f);
        return TEL_OK;
    }
    if (s->policy == SPOOL_DROP_OLDEST)
        atomic_store(&s->want_room, true);
    return tel_error_set(err, TEL_ERR_AGAIN, "the spool is full");
}

static tel_code send(struct tel_producer *base, uint32_t partition, struct tel_span key,
                     struct tel_span value, tel_delivery_cb *cb, void *ctx, struct tel_error *err)
{
    struct spool_producer *p = producer_of(base);
    char name[PARTITION_BYTES + 1024];
    if (key.len > sizeof(name) - PARTITION_BYTES)
        return tel_error_set(err, TEL_ERR_LIMIT, "a key of %zu bytes", key.len);
    memcpy(name, &partition, PARTITION_BYTES);
    memcpy(name + PARTITION_BYTES, key.ptr, key.len);
    struct fate *f = TEL_NEW(struct fate);
    f->cb = cb;
    f->ctx = ctx;
    f->producer = p;
    tel_mutex_lock(&p->lock);
    p->open++;
    tel_mutex_unlock(&p->lock);
    struct tel_error why;
    tel_code rc = tel_journal_append(p->spool->journal,
                                     tel_span_make(name, PARTITION_BYTES + key.len), value,
                                     on_durable, f, &why);
    if (rc == TEL_ERR_AGAIN || rc == TEL_ERR_NOSPACE)
        rc = when_full(p, f, &why);
    if (rc != TEL_OK) {
        tel_mutex_lock(&p->lock);
        p->open--;
        tel_mutex_unlock(&p->lock);
        free(f);
        if (err)
            *err = why;
    }
    return rc;
}

static int poll_producer(struct tel_producer *base, int timeout_ms)
{
    struct spool_producer *p = producer_of(base);
    int64_t deadline = tel_deadline_ms(timeout_ms);
    int ran = 0;
    tel_mutex_lock(&p->lock);
    while (!p->first && tel_cond_wait_until(&p->told, &p->lock, deadline))
        continue;
    struct fate *f = p->first;
    p->first = p->last = NULL;
    for (const struct fate *at = f; at; at = at->next)
        p->open--;
    tel_mutex_unlock(&p->lock);
    while (f) {
        struct fate *next = f->next;
        f->cb(f->ctx, f->err.code, f->offset, &f->err);
        free(f);
        f = next;
        ran++;
    }
    return ran;
}

static tel_code flush(struct tel_producer *base, int timeout_ms, struct tel_error *err)
{
    struct spool_producer *p = producer_of(base);
    tel_code rc = tel_journal_flush(p->spool->journal, timeout_ms, err);
    while (poll_producer(base, 0) > 0)
        continue;
    return rc;
}

static void producer_free(struct tel_producer *base)
{
    struct spool_producer *p = producer_of(base);
    struct tel_error err;
    if (tel_journal_flush(p->spool->journal, 1000, &err) != TEL_OK)
        tel_log_warn("the spool's disk is slow", tel_kv_error(&err));
    /* Each append has its fate in the end: the journal tells it even when the disk refuses. */
    for (bool open = true; open;) {
        (void)poll_producer(base, 10);
        tel_mutex_lock(&p->lock);
        open = p->open > 0;
        tel_mutex_unlock(&p->lock);
    }
    tel_cond_done(&p->told);
    tel_mutex_done(&p->lock);
    free(p);
}

static tel_code partitions(struct tel_transport *base, int timeout_ms, uint32_t *ret,
                           struct tel_error *err)
{
    return tel_transport_partitions(spool_of(base)->inner, timeout_ms, ret, err);
}

static tel_code new_producer(struct tel_transport *base, struct tel_producer **ret,
                             struct tel_error *err);

static const struct tel_transport_ops spool_ops = {
    .name = "spool",
    .partitions = partitions,
    .producer = new_producer,
    .send = send,
    .producer_poll = poll_producer,
    .flush = flush,
    .producer_free = producer_free,
};

static tel_code new_producer(struct tel_transport *base, struct tel_producer **ret,
                             struct tel_error *err)
{
    struct spool_producer *p = TEL_NEW(struct spool_producer);
    (void)err;
    p->base.ops = &spool_ops;
    p->spool = spool_of(base);
    tel_mutex_init(&p->lock);
    tel_cond_init(&p->told);
    *ret = &p->base;
    return TEL_OK;
}

/* ---- the forwarder ---------------------------------------------------------------------------- */

static void letter_free(struct letter *l)
{
    if (l)
        free(l->bytes);
    free(l);
}

static void on_delivered(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    struct letter *l = ctx;
    struct spool *s = l->spool;
    (void)offset;
    if (l->dropped) {
        letter_free(l);
    } else if (code == TEL_OK) {
        atomic_fetch_add(&s->forwarded, 1);
        l->state = LETTER_DONE;
    } else if (code == TEL_ERR_LIMIT) {
        tel_log_error("a spooled message is too large for the queue and is left out",
                      tel_kv_span("source", l->key), tel_kv_error(err));
        atomic_fetch_add(&s->refused, 1);
        l->state = LETTER_DONE;
    } else {
        l->state = LETTER_UNSENT;
        l->retry_ns = tel_mono_ns(tel_clock_system()) + RETRY_NS;
    }
}

static void send_letter(struct spool *s, struct letter *l, int64_t now)
{
    struct tel_error err;
    if (l->state != LETTER_UNSENT || l->retry_ns > now)
        return;
    l->state = LETTER_SENT;
    tel_code rc = tel_producer_send(s->out, l->partition, l->key, l->value, on_delivered, l, &err);
    if (rc != TEL_OK)
        on_delivered(l, rc, -1, &err);
    if (rc == TEL_ERR_AGAIN)
        l->retry_ns = now + 5 * TEL_NS_PER_MS;
}

/* Takes what has met its fate from the window's beginning, and gives its space back. */
static void release(struct spool *s)
{
    while (s->first && s->first->state == LETTER_DONE) {
        struct letter *l = s->first;
        s->first = l->next;
        if (!s->first)
            s->last = NULL;
        s->window--;
        s->window_bytes -= l->value.len;
        letter_free(l);
    }
    int64_t to = s->first ? s->first->offset : s->ahead ? s->ahead->offset : s->next;
    if (to != atomic_load(&s->released)) {
        tel_journal_release(s->reader, to);
        checkpoint_move(s->checkpoint, s->entry, (uint64_t)to);
        atomic_store(&s->released, to);
    }
}

static bool source_in_window(const struct spool *s, struct tel_span key)
{
    for (const struct letter *l = s->first; l; l = l->next)
        if (l->state != LETTER_DONE && tel_span_eq(l->key, key))
            return true;
    return false;
}

static struct letter *letter_new(struct spool *s, const struct tel_journal_record *r)
{
    struct letter *l = TEL_NEW(struct letter);
    l->spool = s;
    l->offset = r->offset;
    memcpy(&l->partition, r->key.ptr, PARTITION_BYTES);
    struct tel_span key = tel_span_slice(r->key, PARTITION_BYTES, r->key.len);
    l->bytes = tel_malloc(key.len + r->value.len);
    memcpy(l->bytes, key.ptr, key.len);
    memcpy(l->bytes + key.len, r->value.ptr, r->value.len);
    l->key = tel_span_make(l->bytes, key.len);
    l->value = tel_span_make(l->bytes + key.len, r->value.len);
    return l;
}

/* The next letter of the journal, into s->ahead. False: nothing now. */
static bool read_ahead(struct spool *s, int wait_ms)
{
    const struct tel_journal_record *r;
    struct tel_error err;
    size_t count = 0;
    int64_t next = 0;
    if (s->ahead)
        return true;
    tel_code rc = tel_journal_read(s->reader, wait_ms, 1, &r, &count, &next, &err);
    if (rc == TEL_ERR_GAP || rc == TEL_ERR_CORRUPT) {
        tel_log_error("the spool has a hole", tel_kv_error(&err), tel_kv_i64("from", s->next),
                      tel_kv_i64("to", next));
        tel_journal_reader_seek(s->reader, next);
        s->next = next;
        return false;
    }
    if (rc != TEL_OK || count == 0)
        return false;
    s->next = r->offset + 1;
    if (r->key.len > PARTITION_BYTES)
        s->ahead = letter_new(s, r);
    return s->ahead != NULL;
}

static bool fill_window(struct spool *s, int64_t now)
{
    bool any = false;
    while (s->window < WINDOW_MAX && s->window_bytes < WINDOW_BYTES_MAX &&
           read_ahead(s, s->window || any ? 0 : READ_MS) && !source_in_window(s, s->ahead->key)) {
        struct letter *l = s->ahead;
        s->ahead = NULL;
        *(s->last ? &s->last->next : &s->first) = l;
        s->last = l;
        s->window++;
        s->window_bytes += l->value.len;
        send_letter(s, l, now);
        any = true;
    }
    return any;
}

/* The policy wants room: an eighth of what waits goes, the oldest first, even if it is in flight. */
static void drop_oldest(struct spool *s)
{
    int64_t low, high, from = atomic_load(&s->released);
    tel_journal_watermarks(s->journal, &low, &high);
    int64_t to = from + (high - from) / 8 + 1;
    while (s->first && s->first->offset < to) {
        struct letter *l = s->first;
        s->first = l->next;
        s->window--;
        s->window_bytes -= l->value.len;
        atomic_fetch_add(&s->dropped, 1);
        if (l->state == LETTER_SENT)
            l->dropped = true;
        else
            letter_free(l);
    }
    if (!s->first)
        s->last = NULL;
    if (s->ahead && s->ahead->offset < to) {
        letter_free(s->ahead);
        s->ahead = NULL;
        atomic_fetch_add(&s->dropped, 1);
    }
    if (s->next < to) {
        atomic_fetch_add(&s->dropped, (uint64_t)(to - s->next));
        s->next = to;
        tel_journal_reader_seek(s->reader, to);
    }
    tel_log_warn("the spool is full: its oldest messages are dropped",
                 tel_kv_i64("messages", to - from));
}

static void run(void *arg)
{
    struct spool *s = arg;
    while (!atomic_load(&s->stopping)) {
        int64_t now = tel_mono_ns(tel_clock_system());
        if (atomic_exchange(&s->want_room, false))
            drop_oldest(s);
        for (struct letter *l = s->first; l; l = l->next)
            send_letter(s, l, now);
        bool any = fill_window(s, now);
        (void)tel_producer_poll(s->out, s->window && !any ? 5 : 0);
        release(s);
    }
}

/* ---- life ------------------------------------------------------------------------------------- */

/* Where forwarding goes on: as stored, if the journal is the one that it was stored for. */
static void resume(struct spool *s)
{
    int64_t low, high;
    tel_journal_watermarks(s->journal, &low, &high);
    s->entry = checkpoint_find(s->checkpoint, "", TEL_SPAN("spool"));
    if (!s->entry)
        s->entry = checkpoint_add(s->checkpoint, "", TEL_SPAN("spool"), "spool", 0, TEL_SPAN(""));
    s->next = low;
    if (s->entry->position <= INT64_MAX && (int64_t)s->entry->position > low &&
        (int64_t)s->entry->position <= high)
        s->next = (int64_t)s->entry->position;
    atomic_store(&s->released, s->next);
    s->reader = tel_journal_reader_open(s->journal, s->next);
}

tel_code spool_new(const struct spool_options *options, struct tel_transport *inner,
                   struct spool **ret, struct tel_error *err)
{
    struct spool *s = TEL_NEW(struct spool);
    s->base.ops = &spool_ops;
    s->inner = inner;
    s->policy = options->policy;
    s->checkpoint = options->checkpoint;
    struct tel_journal_options j = {
        .fs = options->fs, .dir = options->dir, .budget_bytes = options->bytes};
    tel_code rc = tel_journal_open(&j, &s->journal, err);
    if (rc == TEL_OK)
        rc = tel_transport_producer(inner, &s->out, err);
    if (rc == TEL_OK) {
        resume(s);
        rc = tel_thread_start(&s->thread, "spool", run, s, err);
    }
    if (rc != TEL_OK) {
        spool_free(s);
        return rc;
    }
    *ret = s;
    return TEL_OK;
}

struct tel_transport *spool_transport(struct spool *spool)
{
    return &spool->base;
}

static uint64_t waiting(struct spool *s)
{
    int64_t low, high;
    tel_journal_watermarks(s->journal, &low, &high);
    int64_t released = atomic_load(&s->released);
    return high > released ? (uint64_t)(high - released) : 0;
}

bool spool_drain(struct spool *spool, int timeout_ms)
{
    int64_t deadline = tel_deadline_ms(timeout_ms);
    while (waiting(spool) && tel_mono_ns(tel_clock_system()) < deadline)
        usleep(2000);
    return waiting(spool) == 0;
}

void spool_free(struct spool *spool)
{
    if (!spool)
        return;
    atomic_store(&spool->stopping, true);
    tel_thread_join(&spool->thread);
    tel_producer_free(spool->out); /* what is in flight is told CLOSED, and stays in the journal */
    while (spool->first) {
        struct letter *next = spool->first->next;
        letter_free(spool->first);
        spool->first = next;
    }
    letter_free(spool->ahead);
    tel_journal_reader_close(spool->reader);
    tel_journal_close(spool->journal);
    free(spool);
}

void spool_get_stats(struct spool *spool, struct spool_stats *ret)
{
    struct tel_journal_stats j;
    tel_journal_stats(spool->journal, &j);
    *ret = (struct spool_stats){
        .bytes = j.bytes,
        .budget_bytes = j.budget_bytes,
        .waiting = waiting(spool),
        .forwarded = atomic_load(&spool->forwarded),
        .dropped = atomic_load(&spool->dropped),
        .refused = atomic_load(&spool->refused),
    };
}

#include "tests/unit/sidecar/unruly_transport.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/vec.h"
#include "common/sys/thread.h"

struct letter {
    uint32_t partition;
    struct tel_span key, value;
    tel_delivery_cb *cb;
    void *ctx;
};

struct unruly {
    struct tel_transport base;
    struct tel_transport *inner;
    struct unruly_options o;
};

struct unruly_producer {
    struct tel_producer base;
    struct unruly *t;
    struct tel_producer *inner;
    struct tel_mutex lock; /* guards what follows */
    struct tel_rand rand;
    TEL_VEC(struct letter) pending;
};

static bool chance(struct unruly_producer *p, unsigned percent)
{
    return tel_rand_below(&p->rand, 100) < percent;
}

static tel_code partitions(struct tel_transport *base, int timeout_ms, uint32_t *ret,
                           struct tel_error *err)
{
    struct unruly *t = TEL_CONTAINER_OF(base, struct unruly, base);
    if (t->o.stuck_partitions_calls) {
        t->o.stuck_partitions_calls--;
        return tel_error_set(err, TEL_ERR_UNAVAILABLE, "not yet");
    }
    return tel_transport_partitions(t->inner, timeout_ms, ret, err);
}

static tel_code send(struct tel_producer *base, uint32_t partition, struct tel_span key,
                     struct tel_span value, tel_delivery_cb *cb, void *ctx, struct tel_error *err)
{
    struct unruly_producer *p = TEL_CONTAINER_OF(base, struct unruly_producer, base);
    struct letter l = {.partition = partition, .cb = cb, .ctx = ctx};
    tel_code rc = TEL_OK;
    tel_mutex_lock(&p->lock);
    if (p->t->o.refuse_at_send && value.len > p->t->o.refuse_at_send) {
        rc = tel_error_set(err, TEL_ERR_LIMIT, "%zu bytes", value.len);
    } else if (chance(p, p->t->o.full_percent)) {
        rc = tel_error_set(err, TEL_ERR_AGAIN, "full");
    } else {
        l.key = tel_span_make(tel_strndup(key), key.len);
        l.value = tel_span_make(tel_strndup(value), value.len);
        tel_vec_push(&p->pending, l);
    }
    tel_mutex_unlock(&p->lock);
    return rc;
}

static void letter_free(struct letter *l)
{
    free((char *)(uintptr_t)l->key.ptr);
    free((char *)(uintptr_t)l->value.ptr);
}

/* The fate of one letter: TEL_OK passes it on. */
static tel_code fate(struct unruly_producer *p, const struct letter *l, uint64_t *failed_partitions)
{
    uint64_t bit = UINT64_C(1) << (l->partition % 64);
    if (p->t->o.refuse_later && l->value.len > p->t->o.refuse_later)
        return TEL_ERR_LIMIT;
    if (chance(p, p->t->o.fail_percent) || (*failed_partitions & bit)) {
        if (!p->t->o.overtake)
            *failed_partitions |= bit;
        return TEL_ERR_UNAVAILABLE;
    }
    return TEL_OK;
}

static void pass_on(struct unruly_producer *p, const struct letter *l, tel_delivery_cb *cb, void *ctx)
{
    struct tel_error err;
    while (tel_producer_send(p->inner, l->partition, l->key, l->value, cb, ctx, &err) != TEL_OK)
        tel_producer_poll(p->inner, 1);
}

static int poll_producer(struct tel_producer *base, int timeout_ms)
{
    struct unruly_producer *p = TEL_CONTAINER_OF(base, struct unruly_producer, base);
    struct tel_error err;
    uint64_t failed = 0;
    int ran = 0;
    (void)timeout_ms;
    tel_mutex_lock(&p->lock);
    TEL_VEC(struct letter) mine = {p->pending.items, p->pending.len, p->pending.cap};
    p->pending.items = NULL;
    p->pending.len = p->pending.cap = 0;
    for (size_t i = 0; i < mine.len; i++) {
        struct letter *l = &mine.items[i];
        tel_code code = fate(p, l, &failed);
        if (code == TEL_OK && chance(p, p->t->o.lie_percent)) {
            pass_on(p, l, NULL, NULL);
            code = TEL_ERR_UNAVAILABLE;
        }
        if (code != TEL_OK) {
            (void)tel_error_set(&err, code, "by chance");
            l->cb(l->ctx, code, -1, &err);
            ran++;
        } else {
            pass_on(p, l, l->cb, l->ctx);
        }
        letter_free(l);
    }
    tel_mutex_unlock(&p->lock);
    tel_vec_free(&mine);
    return ran + tel_producer_poll(p->inner, 2);
}

static tel_code flush(struct tel_producer *base, int timeout_ms, struct tel_error *err)
{
    struct unruly_producer *p = TEL_CONTAINER_OF(base, struct unruly_producer, base);
    return tel_producer_flush(p->inner, timeout_ms, err);
}

static void producer_free(struct tel_producer *base)
{
    struct unruly_producer *p = TEL_CONTAINER_OF(base, struct unruly_producer, base);
    struct tel_error err;
    (void)tel_error_set(&err, TEL_ERR_CLOSED, "closed");
    for (size_t i = 0; i < p->pending.len; i++) {
        p->pending.items[i].cb(p->pending.items[i].ctx, TEL_ERR_CLOSED, -1, &err);
        letter_free(&p->pending.items[i]);
    }
    tel_producer_free(p->inner);
    tel_vec_free(&p->pending);
    tel_mutex_done(&p->lock);
    free(p);
}

static void transport_free(struct tel_transport *base)
{
    free(TEL_CONTAINER_OF(base, struct unruly, base));
}

static tel_code producer(struct tel_transport *base, struct tel_producer **ret,
                         struct tel_error *err);

static const struct tel_transport_ops ops = {
    .name = "unruly",
    .partitions = partitions,
    .producer = producer,
    .send = send,
    .producer_poll = poll_producer,
    .flush = flush,
    .producer_free = producer_free,
    .free = transport_free,
};

static tel_code producer(struct tel_transport *base, struct tel_producer **ret,
                         struct tel_error *err)
{
    struct unruly *t = TEL_CONTAINER_OF(base, struct unruly, base);
    struct unruly_producer *p = TEL_NEW(struct unruly_producer);
    p->base.ops = &ops;
    p->t = t;
    tel_mutex_init(&p->lock);
    tel_rand_init(&p->rand, t->o.seed);
    tel_code rc = tel_transport_producer(t->inner, &p->inner, err);
    if (rc != TEL_OK) {
        free(p);
        return rc;
    }
    *ret = &p->base;
    return TEL_OK;
}

struct tel_transport *unruly_transport_new(struct tel_transport *inner,
                                           const struct unruly_options *options)
{
    struct unruly *t = TEL_NEW(struct unruly);
    t->base.ops = &ops;
    t->inner = inner;
    t->o = *options;
    return &t->base;
}

#include "common/transport/dead_letter.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/base/varint.h"

enum { WAIT_MS = 10000, POLL_MS = 50 };

struct tel_dead_letters {
    struct tel_producer *producer; /* made for the first letter */
    struct tel_transport *transport;
    char *origin;
    pthread_mutex_t lock; /* held while a letter is on its way */
    struct tel_buf buf;
};

/* ---- the record ------------------------------------------------------------------------------ */

static void put_long(struct tel_buf *buf, int64_t v)
{
    char out[TEL_VARINT_MAX];
    tel_buf_add(buf, out, tel_varint_put(out, tel_zigzag(v)));
}

static void put_bytes(struct tel_buf *buf, struct tel_span s)
{
    put_long(buf, (int64_t)s.len);
    tel_buf_add_span(buf, s);
}

void tel_dead_letter_encode(const char *origin, const struct tel_message *m,
                            const struct tel_error *why, struct tel_buf *ret)
{
    struct tel_span reason = tel_span_cstr(why->text);
    TEL_BUF_ADD_LIT(ret, "\xc3\x01");
    tel_buf_add_le64(ret, TEL_DEAD_LETTER_FINGERPRINT);
    put_bytes(ret, tel_span_cstr(origin));
    put_long(ret, m->partition);
    put_long(ret, m->offset);
    put_long(ret, m->timestamp_ns);
    put_bytes(ret, tel_span_cstr(tel_code_name(why->code)));
    /* Error texts are escaped to UTF-8, but one that was cut at its limit may end in half a letter. */
    put_bytes(ret, tel_utf8_valid(reason) ? reason : TEL_SPAN("?"));
    put_bytes(ret, tel_span_slice(m->key, 0, TEL_DEAD_LETTER_KEY_MAX));
    put_long(ret, (int64_t)m->value.len);
    put_bytes(ret, tel_span_slice(m->value, 0, TEL_DEAD_LETTER_VALUE_MAX));
}

/* ---- the sink -------------------------------------------------------------------------------- */

/* One letter under way; freed by whichever of waiter and callback is the last to see it. */
struct flight {
    bool landed, abandoned;
    tel_code code;
    struct tel_error err;
};

/* Runs inside tel_producer_poll or _free: with the sink's lock held, or with nobody waiting. */
static void on_delivery(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    struct flight *f = ctx;
    (void)offset;
    if (f->abandoned) {
        free(f);
        return;
    }
    f->landed = true;
    f->code = code;
    if (code != TEL_OK)
        f->err = *err;
}

struct tel_dead_letters *tel_dead_letters_new(struct tel_transport *transport, const char *origin)
{
    struct tel_dead_letters *d = TEL_NEW(struct tel_dead_letters);
    d->transport = transport;
    d->origin = tel_strdup(origin);
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

/* Sends what is in d->buf and waits for its fate. */
static tel_code deliver(struct tel_dead_letters *d, const struct tel_message *m, uint32_t partition,
                        int64_t deadline, struct tel_error *err)
{
    const struct tel_clock *clock = tel_clock_system();
    struct flight *f = TEL_NEW(struct flight);
    tel_code rc;
    while ((rc = tel_producer_send(d->producer, partition, m->key.len <= TEL_DEAD_LETTER_KEY_MAX ? m->key : TEL_SPAN(""),
                                   tel_buf_span(&d->buf), on_delivery, f, err)) == TEL_ERR_AGAIN &&
           tel_mono_ns(clock) < deadline)
        tel_producer_poll(d->producer, POLL_MS);
    if (rc != TEL_OK) {
        free(f);
        return rc;
    }
    while (!f->landed && tel_mono_ns(clock) < deadline)
        tel_producer_poll(d->producer, POLL_MS);
    if (!f->landed) {
        f->abandoned = true; /* the callback frees it */
        return tel_error_set(err, TEL_ERR_TIMEOUT, "no acknowledgement within %d ms", WAIT_MS);
    }
    rc = f->code;
    if (rc != TEL_OK && err)
        *err = f->err;
    free(f);
    return rc;
}

tel_code tel_dead_letters_bury(void *sink, const struct tel_message *message,
                               const struct tel_error *why, struct tel_error *err)
{
    struct tel_dead_letters *d = sink;
    uint32_t partitions = 0;
    pthread_mutex_lock(&d->lock);
    int64_t deadline = tel_mono_ns(tel_clock_system()) + WAIT_MS * TEL_NS_PER_MS;
    tel_code rc = tel_transport_partitions(d->transport, WAIT_MS, &partitions, err);
    if (rc == TEL_OK && !d->producer)
        rc = tel_transport_producer(d->transport, &d->producer, err);
    if (rc == TEL_OK) {
        tel_buf_clear(&d->buf);
        tel_dead_letter_encode(d->origin, message, why, &d->buf);
        rc = deliver(d, message, message->partition % partitions, deadline, err);
    }
    if (d->buf.cap > (1u << 16)) /* dead letters are rare: hold no megabyte for them */
        tel_buf_free(&d->buf);
    pthread_mutex_unlock(&d->lock);
    if (rc != TEL_OK) {
        tel_error_wrap(err, rc, "the dead letter of partition %u, offset %lld", message->partition,
                       (long long)message->offset);
        if (err)
            err->retriable = true; /* the message must not be passed over unburied */
    }
    return rc;
}

void tel_dead_letters_free(struct tel_dead_letters *d)
{
    if (!d)
        return;
    tel_producer_free(d->producer);
    tel_buf_free(&d->buf);
    pthread_mutex_destroy(&d->lock);
    free(d->origin);
    free(d);
}

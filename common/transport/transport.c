/* Calls go to the implementation behind the handle; freeing NULL is fine. */
#include "common/transport/transport.h"

tel_code tel_transport_partitions(struct tel_transport *t, int timeout_ms, uint32_t *ret_count,
                                  struct tel_error *err)
{
    return t->ops->partitions(t, timeout_ms, ret_count, err);
}

tel_code tel_transport_producer(struct tel_transport *t, struct tel_producer **ret,
                                struct tel_error *err)
{
    return t->ops->producer(t, ret, err);
}

tel_code tel_producer_send(struct tel_producer *p, uint32_t partition, struct tel_span key,
                           struct tel_span value, tel_delivery_cb *cb, void *message_ctx,
                           struct tel_error *err)
{
    return p->ops->send(p, partition, key, value, cb, message_ctx, err);
}

int tel_producer_poll(struct tel_producer *p, int timeout_ms)
{
    return p->ops->producer_poll(p, timeout_ms);
}

tel_code tel_producer_flush(struct tel_producer *p, int timeout_ms, struct tel_error *err)
{
    return p->ops->flush(p, timeout_ms, err);
}

void tel_producer_free(struct tel_producer *p)
{
    if (p)
        p->ops->producer_free(p);
}

tel_code tel_transport_consumer(struct tel_transport *t, uint32_t partition, int64_t start,
                                uint64_t mark, struct tel_consumer **ret, struct tel_error *err)
{
    return t->ops->consumer(t, partition, start, mark, ret, err);
}

tel_code tel_consumer_poll(struct tel_consumer *c, int timeout_ms, size_t max,
                           const struct tel_message **ret_messages, size_t *ret_count,
                           int64_t *ret_gap_to, struct tel_error *err)
{
    return c->ops->poll(c, timeout_ms, max, ret_messages, ret_count, ret_gap_to, err);
}

tel_code tel_consumer_seek(struct tel_consumer *c, int64_t offset, struct tel_error *err)
{
    return c->ops->seek(c, offset, err);
}

void tel_consumer_watermarks(const struct tel_consumer *c, int64_t *ret_low, int64_t *ret_high)
{
    c->ops->watermarks(c, ret_low, ret_high);
}

void tel_consumer_release(struct tel_consumer *c, int64_t offset)
{
    c->ops->release(c, offset);
}

void tel_consumer_free(struct tel_consumer *c)
{
    if (c)
        c->ops->consumer_free(c);
}

void tel_transport_free(struct tel_transport *t)
{
    if (t)
        t->ops->free(t);
}

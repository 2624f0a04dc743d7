#include "common/sys/mailbox.h"

#include <stdlib.h>

#include "common/base/mem.h"

void tel_mailbox_init(struct tel_mailbox *box, size_t max_count, size_t max_bytes)
{
    TEL_CHECK(max_count > 0);
    *box = (struct tel_mailbox){.max_count = max_count, .max_bytes = max_bytes};
    tel_mutex_init(&box->lock);
    tel_cond_init(&box->not_empty);
    tel_cond_init(&box->not_full);
    box->ring = tel_calloc(max_count, sizeof *box->ring);
}

void tel_mailbox_done(struct tel_mailbox *box)
{
    if (!box || !box->ring)
        return;
    TEL_CHECK(box->count == 0);
    tel_cond_done(&box->not_full);
    tel_cond_done(&box->not_empty);
    tel_mutex_done(&box->lock);
    free(box->ring);
    box->ring = NULL;
}

static bool has_room(const struct tel_mailbox *box, size_t bytes)
{
    if (box->count == box->max_count)
        return false;
    if (box->max_bytes == 0 || box->count == 0)
        return true;
    return box->bytes <= box->max_bytes && bytes <= box->max_bytes - box->bytes;
}

static void put(struct tel_mailbox *box, void *msg, size_t bytes)
{
    size_t at = (box->head + box->count) % box->max_count;
    box->ring[at] = (struct tel_mailbox_entry){msg, bytes};
    box->count++;
    box->bytes += bytes;
    /* There is one receiver, and it looks again before it waits. */
    if (box->count == 1)
        tel_cond_signal(&box->not_empty);
}

tel_code tel_mailbox_try_send(struct tel_mailbox *box, void *msg, size_t bytes)
{
    tel_code rc = TEL_OK;
    tel_mutex_lock(&box->lock);
    if (box->closed)
        rc = TEL_ERR_CLOSED;
    else if (!has_room(box, bytes))
        rc = TEL_ERR_AGAIN;
    else
        put(box, msg, bytes);
    tel_mutex_unlock(&box->lock);
    return rc;
}

tel_code tel_mailbox_send(struct tel_mailbox *box, void *msg, size_t bytes, int64_t deadline_ns)
{
    tel_code rc = TEL_OK;
    tel_mutex_lock(&box->lock);
    box->senders_waiting++;
    while (!box->closed && !has_room(box, bytes)) {
        if (!tel_cond_wait_until(&box->not_full, &box->lock, deadline_ns) && !has_room(box, bytes)) {
            rc = TEL_ERR_TIMEOUT;
            break;
        }
    }
    box->senders_waiting--;
    if (box->closed)
        rc = TEL_ERR_CLOSED;
    else if (rc == TEL_OK)
        put(box, msg, bytes);
    tel_mutex_unlock(&box->lock);
    return rc;
}

tel_code tel_mailbox_recv_many(struct tel_mailbox *box, int64_t deadline_ns, void **out, size_t max,
                               size_t *ret_count)
{
    tel_code rc = TEL_OK;
    TEL_CHECK(max > 0);
    tel_mutex_lock(&box->lock);
    while (box->count == 0 && !box->closed) {
        if (!tel_cond_wait_until(&box->not_empty, &box->lock, deadline_ns) && box->count == 0) {
            rc = TEL_ERR_TIMEOUT;
            break;
        }
    }
    if (box->count > 0) {
        rc = TEL_OK;
        size_t taken = 0;
        for (; taken < max && box->count > 0; taken++) {
            out[taken] = box->ring[box->head].msg;
            box->bytes -= box->ring[box->head].bytes;
            box->head = (box->head + 1) % box->max_count;
            box->count--;
        }
        *ret_count = taken;
        /* All of them: who waits with a heavy message may still not fit while a lighter one does. */
        if (box->senders_waiting)
            tel_cond_broadcast(&box->not_full);
    } else if (box->closed) {
        rc = TEL_ERR_CLOSED;
    }
    tel_mutex_unlock(&box->lock);
    return rc;
}

tel_code tel_mailbox_recv(struct tel_mailbox *box, int64_t deadline_ns, void **ret_msg)
{
    size_t count;
    return tel_mailbox_recv_many(box, deadline_ns, ret_msg, 1, &count);
}

void tel_mailbox_close(struct tel_mailbox *box)
{
    tel_mutex_lock(&box->lock);
    box->closed = true;
    tel_cond_broadcast(&box->not_empty);
    tel_cond_broadcast(&box->not_full);
    tel_mutex_unlock(&box->lock);
}

size_t tel_mailbox_count(struct tel_mailbox *box)
{
    tel_mutex_lock(&box->lock);
    size_t count = box->count;
    tel_mutex_unlock(&box->lock);
    return count;
}

size_t tel_mailbox_bytes(struct tel_mailbox *box)
{
    tel_mutex_lock(&box->lock);
    size_t bytes = box->bytes;
    tel_mutex_unlock(&box->lock);
    return bytes;
}

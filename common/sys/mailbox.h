/*
 * A bounded queue of messages from many threads to one owner. Full means back-pressure: a sender
 * waits, with a deadline, or is told at once. It is bounded by a number of messages and, if wanted,
 * by their bytes: each message says what it weighs.
 *
 * The mailbox carries pointers and never looks behind them; a message belongs to the sender until
 * tel_mailbox_send returns TEL_OK, and then to the receiver. Messages still inside when the mailbox
 * is done with are the owner's to drain (tel_mailbox_recv after tel_mailbox_close gives them all).
 * Every function but _init and _done may be called by any thread.
 */
#ifndef TEL_SYS_MAILBOX_H
#define TEL_SYS_MAILBOX_H

#include <stddef.h>

#include "common/base/error.h"
#include "common/sys/thread.h"

struct tel_mailbox_entry {
    void *msg;
    size_t bytes;
};

struct tel_mailbox {
    struct tel_mutex lock;
    struct tel_cond not_empty, not_full;
    struct tel_mailbox_entry *ring; /* max_count entries, from head */
    size_t head, count, max_count;
    size_t bytes, max_bytes;
    unsigned senders_waiting;
    bool closed;
};

/* max_bytes 0: only the count bounds. */
void tel_mailbox_init(struct tel_mailbox *box, size_t max_count, size_t max_bytes);
/* The mailbox is empty and no thread uses it. */
void tel_mailbox_done(struct tel_mailbox *box);

/* TEL_ERR_AGAIN if it is full, TEL_ERR_CLOSED if it is closed. A message heavier than max_bytes is
 * taken when the mailbox is empty: it must not wait for ever. */
TEL_MUST_USE tel_code tel_mailbox_try_send(struct tel_mailbox *box, void *msg, size_t bytes);
/* Waits for room until the deadline (monotonic): then TEL_ERR_TIMEOUT. */
TEL_MUST_USE tel_code tel_mailbox_send(struct tel_mailbox *box, void *msg, size_t bytes,
                                       int64_t deadline_ns);
/* The oldest message. TEL_ERR_TIMEOUT at the deadline (0: at once); TEL_ERR_CLOSED when it is closed
 * and empty. */
TEL_MUST_USE tel_code tel_mailbox_recv(struct tel_mailbox *box, int64_t deadline_ns,
                                       void **ret_msg);
/* As tel_mailbox_recv, but takes up to `max` messages at once; waits only for the first. */
TEL_MUST_USE tel_code tel_mailbox_recv_many(struct tel_mailbox *box, int64_t deadline_ns,
                                            void **out, size_t max, size_t *ret_count);
/* Nobody can send any more; who waits is woken. The receiver still gets what is inside. */
void tel_mailbox_close(struct tel_mailbox *box);

size_t tel_mailbox_count(struct tel_mailbox *box);
size_t tel_mailbox_bytes(struct tel_mailbox *box);

#endif

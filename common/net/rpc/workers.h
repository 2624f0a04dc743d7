/*
 * A pool of threads for handlers that block, made for tel_rpc_server_options.dispatch:
 *
 *     options.dispatch = tel_rpc_workers_dispatch;
 *     options.ctx = workers;     (or call it from a dispatch hook of your own)
 */
#ifndef TEL_NET_RPC_WORKERS_H
#define TEL_NET_RPC_WORKERS_H

#include <stdbool.h>

#include "common/base/error.h"

struct tel_rpc_workers;

/* queue_max: jobs that may wait for a thread. */
TEL_MUST_USE tel_code tel_rpc_workers_new(unsigned threads, unsigned queue_max,
                                          struct tel_rpc_workers **ret, struct tel_error *err);
/* Any thread. False: the queue is full. */
bool tel_rpc_workers_dispatch(void *workers, void (*run)(void *arg), void *arg);
/* Runs what is queued, then ends the threads. After tel_rpc_server_stop. NULL is fine. */
void tel_rpc_workers_free(struct tel_rpc_workers *workers);

#endif

/* The server of echo.proto that tests talk to, and a client's side of it. */
#ifndef TESTS_UNIT_RPC_ECHO_SERVER_H
#define TESTS_UNIT_RPC_ECHO_SERVER_H

#include <stdatomic.h>

#include "common/net/rpc/client.h"
#include "common/net/rpc/server.h"
#include "common/net/rpc/workers.h"
#include "tests/unit/rpc/echo.pb-c.h"

struct echo_server {
    Telescope__Test__V1__Echo_Service service; /* first */
    struct tel_rpc_server *server;
    struct tel_rpc_workers *workers;
    uint16_t port;
    char address[64];
    const char *_Atomic token; /* required as bearer when not NULL */
    _Atomic bool release; /* what hangs is answered */
    _Atomic int hanging, cancelled, observed, ok, sent;
};

struct tel_span echo_descriptor_set(void);

/* options may be NULL; listen, ctx, hooks and dispatch are filled in. */
void echo_server_start(struct echo_server *echo, const struct tel_rpc_server_options *options);
void echo_server_stop(struct echo_server *echo);

/* Collects what one call brings. */
struct echo_result {
    unsigned messages, ends;
    enum tel_rpc_status status;
    char text[256], last[256], identity[256], bearer[256];
    size_t bytes;
    unsigned stop_after;   /* cancel after this many messages; 0: never */
    unsigned pause_after;  /* pause after this many messages; 0: never */
    struct tel_rpc_op *op; /* while it runs */
};

void echo_on_message(const Telescope__Test__V1__EchoResponse *msg, void *op);
/* Starts an op for result, which outlives the loop. timeout_ms 0: 60 s. */
struct tel_rpc_op *echo_op(struct tel_rpc_loop *loop, struct echo_result *result,
                           int64_t timeout_ms);
void echo_stub(struct tel_rpc_stub *stub, struct tel_rpc_channel *channel);
struct tel_rpc_channel *echo_channel(const char *address, struct tel_rpc_tls *tls);
/* Runs until all ops have ended; aborts after 120 s. */
void echo_run(struct tel_rpc_loop *loop);
/* Polls until *counter reaches n; aborts after 60 s. */
void echo_wait(_Atomic int *counter, int n);

#endif

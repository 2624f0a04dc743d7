/*
 * The echo service (tests/unit/rpc/echo.proto) for clients and servers that are not ours.
 *
 *     rpc_peer serve [CERT KEY CA]     prints "ready PORT"; until SIGTERM
 *     rpc_peer call ADDRESS            makes every kind of call and prints a line for each
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/rpc/echo_server.h"

typedef Telescope__Test__V1__EchoRequest request;

static int serve(int argc, char **argv)
{
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    struct tel_rpc_tls *tls = NULL;
    struct tel_error err;
    if (argc == 5) {
        struct tel_rpc_tls_options o = {
            .cert_file = argv[2], .key_file = argv[3], .ca_file = argv[4]};
        if (tel_rpc_tls_new(&o, &tls, &err) != TEL_OK) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
    }
    struct echo_server echo = {.token = NULL};
    echo_server_start(&echo, &(struct tel_rpc_server_options){.tls = tls});
    printf("ready %u\n", echo.port);
    fflush(stdout);
    int got;
    sigwait(&stop, &got);
    tel_rpc_server_stop(echo.server, 10000);
    echo_server_stop(&echo);
    tel_rpc_tls_unref(tls);
    return 0;
}

static void show(const char *name, const struct echo_result *r)
{
    printf("%s messages=%u bytes=%zu last=%s status=%s text=%s\n", name, r->messages, r->bytes,
           r->last, r->ends ? tel_rpc_status_name(r->status) : "OK", r->text);
}

static int call(const char *address)
{
    struct tel_rpc_channel *channel = echo_channel(address, NULL);
    struct tel_rpc_loop *loop = tel_rpc_loop_new();
    struct tel_rpc_stub stub;
    echo_stub(&stub, channel);
    request req = TELESCOPE__TEST__V1__ECHO_REQUEST__INIT;

    struct echo_result unary = {0}, failed = {0}, stream = {0}, chat = {0}, late = {0},
                       cancelled = {.stop_after = 3};
    req.text = (char *)"hello";
    req.size = 100000;
    telescope__test__v1__echo__once(&stub.base, &req, echo_on_message, echo_op(loop, &unary, 0));
    echo_run(loop);
    show("unary", &unary);

    req.size = 0;
    req.fail = TEL_RPC_NOT_FOUND;
    telescope__test__v1__echo__once(&stub.base, &req, echo_on_message, echo_op(loop, &failed, 0));
    echo_run(loop);
    show("failed", &failed);

    req.fail = 0;
    req.repeat = 1000;
    req.size = 1000;
    telescope__test__v1__echo__count(&stub.base, &req, echo_on_message, echo_op(loop, &stream, 0));
    echo_run(loop);
    show("stream", &stream);

    req.repeat = 1000000;
    telescope__test__v1__echo__count(&stub.base, &req, echo_on_message,
                                     echo_op(loop, &cancelled, 0));
    echo_run(loop);
    show("cancelled", &cancelled);

    req.size = 0;
    telescope__test__v1__echo__chat(&stub.base, &req, echo_on_message, echo_op(loop, &chat, 0));
    for (int i = 0; i < 9; i++)
        if (tel_rpc_op_send(chat.op, &req.base) != TEL_OK)
            abort();
    tel_rpc_op_send_end(chat.op);
    echo_run(loop);
    show("chat", &chat);

    req.hang = 1;
    telescope__test__v1__echo__once(&stub.base, &req, echo_on_message, echo_op(loop, &late, 200));
    echo_run(loop);
    show("late", &late);
    tel_rpc_loop_free(loop);
    tel_rpc_channel_unref(channel);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "serve") == 0)
        return serve(argc, argv);
    if (argc == 3 && strcmp(argv[1], "call") == 0)
        return call(argv[2]);
    fprintf(stderr, "usage: rpc_peer serve [CERT KEY CA] | rpc_peer call ADDRESS\n");
    return 2;
}

/*
 * bench_router: what a router adds to the slowest shard, and how many small queries it answers.
 *
 * Shard servers are processes, this program with --serve, as they are in a cluster (in one process
 * all share gRPC's one poller, and what that costs is not the router's doing). Each answers a search
 * by working for --work-ms (a sleep: the shards of a cluster have CPUs of their own, these do not)
 * and sending --rows rows. A query's overhead is the time that its client waits over HTTP, less the
 * time that the slowest of its searches took inside its server, which it leaves in shared memory:
 * parsing, planning, fan-out, both networks, merging, JSON. The control is the same searches asked of
 * the same shards directly, without a router: their overhead is what the calls cost on this machine,
 * its shards' share of the CPUs included, and no router could save. The CPU is this process's: router
 * and clients.
 *
 * In the failing cluster shard i holds partitions i and i - 1, so that each has two replicas; every
 * tenth is then stopped (SIGSTOP: it takes connections and says nothing) or killed. A query fails if
 * a row of any partition is missing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/net/rpc/server.h"
#include "common/net/rpc/workers.h"
#include "common/sys/limits.h"
#include "router/select.h"
#include "router/shard_client_rpc.h"
#include "schemas/schemas.h"

#define SHARDS_MAX 32u
#define SLOTS      65536u

static unsigned work_ms = 5, row_count = 100, queries = 400, concurrent = 1000, rounds = 10;
static unsigned cluster_size = 32, hedge_ms = 200;
static _Atomic int64_t *slowest; /* [SLOTS] by the query's number: its slowest search, in ns; shared */
static int slots_fd = -1;
static _Atomic unsigned numbers;

static int64_t now_ns(void)
{
    return tel_mono_ns(tel_clock_system());
}

static void must(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK) {
        fprintf(stderr, "bench_router: %s\n", err->text);
        exit(1);
    }
}

/* ---- shards ---------------------------------------------------------------------------------- */

struct shard {
    Telescope__Shard__V1__Shard_Service service; /* first */
    struct tel_rpc_server *server;
    struct tel_rpc_workers *workers;
    char address[32];
};

static void send_end(struct tel_rpc_call *call, const uint32_t *partitions, size_t n,
                     Telescope__Shard__V1__RowBatch *rows)
{
    Telescope__Shard__V1__PartitionState state[SHARDS_MAX], *states[SHARDS_MAX];
    n = TEL_MIN(n, SHARDS_MAX);
    for (size_t i = 0; i < n; i++) {
        telescope__shard__v1__partition_state__init(&state[i]);
        state[i].partition = partitions[i];
        states[i] = &state[i];
    }
    Telescope__Shard__V1__SearchEnd end = TELESCOPE__SHARD__V1__SEARCH_END__INIT;
    end.n_partitions = n;
    end.partitions = states;
    end.rows = rows;
    Telescope__Shard__V1__SearchResponse res = TELESCOPE__SHARD__V1__SEARCH_RESPONSE__INIT;
    res.kind_case = TELESCOPE__SHARD__V1__SEARCH_RESPONSE__KIND_END;
    res.end = &end;
    tel_rpc_send_last(call, &res.base);
}

/* The newest rows of a partition, newest first, as a shard server sends them. */
static void answer(struct tel_rpc_call *call, const Telescope__Shard__V1__SearchRequest *req)
{
    uint32_t partition = req->partitions[0], n = (uint32_t)TEL_MIN(row_count, req->max_rows);
    int64_t *times = tel_calloc(n, sizeof(*times));
    uint32_t *partitions = tel_calloc(n, sizeof(*partitions));
    int64_t *offsets = tel_calloc(n, sizeof(*offsets));
    uint32_t *indexes = tel_calloc(n, sizeof(*indexes));
    uint32_t *lengths = tel_calloc(n, sizeof(*lengths));
    char *text = tel_malloc(n * 128u);
    size_t used = 0;
    for (uint32_t i = 0; i < n; i++) {
        times[i] = (int64_t)1700000000 * TEL_NS_PER_S - (int64_t)i * 1000 - partition;
        partitions[i] = partition;
        offsets[i] = n - i;
        int len = snprintf(text + used, 128,
                           "Receiving block blk_%u src: /10.0.0.%u:5%03u dest: /10.0.0.%u:50010",
                           i * 7919, partition, i % 1000, i % 256);
        lengths[i] = (uint32_t)len;
        used += (size_t)len;
    }
    Telescope__Shard__V1__Column time_column = TELESCOPE__SHARD__V1__COLUMN__INIT;
    time_column.name = (char *)(uintptr_t) "_time";
    Telescope__Shard__V1__Column column = TELESCOPE__SHARD__V1__COLUMN__INIT;
    column.name = (char *)(uintptr_t) "_msg";
    column.n_lengths = n;
    column.lengths = lengths;
    column.data = (ProtobufCBinaryData){.len = used, .data = (uint8_t *)text};
    Telescope__Shard__V1__Column *columns[] = {&time_column, &column};
    Telescope__Shard__V1__RowBatch rows = TELESCOPE__SHARD__V1__ROW_BATCH__INIT;
    rows.rows = n;
    rows.n_times_ns = rows.n_partitions = rows.n_offsets = rows.n_indexes = n;
    rows.times_ns = times;
    rows.partitions = partitions;
    rows.offsets = offsets;
    rows.indexes = indexes;
    rows.n_columns = 2;
    rows.columns = columns;
    send_end(call, req->partitions, req->n_partitions, n > 0 ? &rows : NULL);
    free(times);
    free(partitions);
    free(offsets);
    free(indexes);
    free(lengths);
    free(text);
}

static void search(Telescope__Shard__V1__Shard_Service *self,
                   const Telescope__Shard__V1__SearchRequest *req,
                   Telescope__Shard__V1__SearchResponse_Closure reply, void *call)
{
    (void)self;
    (void)reply;
    int64_t begun = now_ns();
    if (work_ms)
        nanosleep(&(struct timespec){.tv_nsec = (long)(work_ms * TEL_NS_PER_MS)}, NULL);
    _Atomic int64_t *slot = &slowest[(uint64_t)req->start_ns % SLOTS];
    int64_t took = now_ns() - begun, was = atomic_load(slot);
    while (was < took && !atomic_compare_exchange_weak(slot, &was, took))
        ;
    answer(call, req);
}

static bool dispatch(void *ctx, void (*run)(void *arg), void *arg)
{
    struct shard *s = ctx;
    return tel_rpc_workers_dispatch(s->workers, run, arg);
}

static void shard_start(struct shard *s)
{
    struct tel_error err;
    uint16_t port;
    telescope__shard__v1__shard__init(&s->service, NULL);
    s->service.search = search;
    must(tel_rpc_workers_new(16, 4096, &s->workers, &err), &err);
    must(tel_rpc_server_new(&(struct tel_rpc_server_options){.listen = "127.0.0.1:0",
                                                             .ctx = s,
                                                             .dispatch = dispatch},
                            &s->server, &err),
         &err);
    must(tel_rpc_server_add(s->server, &s->service.base,
                            tel_span_make(tel_schema_shard_pb, tel_schema_shard_pb_len), &err),
         &err);
    must(tel_rpc_server_start(s->server, &port, &err), &err);
    snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", port);
}

/* --serve: a shard in a process of its own, until it is killed or its parent ends. */
static void serve(void)
{
    static struct shard s;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    shard_start(&s);
    printf("%s\n", s.address);
    fflush(stdout);
    for (;;)
        pause();
}

/* Slots that shards' processes write to: fd < 0 makes them. */
static void slots_map(int fd)
{
    size_t bytes = SLOTS * sizeof(*slowest);
    slots_fd = fd >= 0 ? fd : memfd_create("bench_router", 0);
    void *at = slots_fd >= 0 && (fd >= 0 || ftruncate(slots_fd, (off_t)bytes) == 0)
                   ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, slots_fd, 0)
                   : MAP_FAILED;
    if (at == MAP_FAILED) {
        fprintf(stderr, "bench_router: shared memory: %s\n", strerror(errno));
        exit(1);
    }
    slowest = at;
}

struct server {
    pid_t pid;
    char address[32];
};

static void server_start(struct server *s)
{
    char work[16], rows[16], slots[16];
    snprintf(work, sizeof(work), "%u", work_ms);
    snprintf(rows, sizeof(rows), "%u", row_count);
    snprintf(slots, sizeof(slots), "%d", slots_fd);
    char *argv[] = {(char *)(uintptr_t) "bench_router", (char *)(uintptr_t) "--work-ms", work,
                    (char *)(uintptr_t) "--rows",       rows,
                    (char *)(uintptr_t) "--serve",      slots,
                    NULL};
    int out[2];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (pipe2(out, O_CLOEXEC) != 0 || posix_spawn_file_actions_adddup2(&actions, out[1], 1) != 0 ||
        posix_spawn(&s->pid, "/proc/self/exe", &actions, NULL, argv, environ) != 0) {
        fprintf(stderr, "bench_router: a shard's process does not start\n");
        exit(1);
    }
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    FILE *f = fdopen(out[0], "r");
    if (!f || !fgets(s->address, sizeof(s->address), f)) {
        fprintf(stderr, "bench_router: a shard's process says nothing\n");
        exit(1);
    }
    s->address[strcspn(s->address, "\n")] = '\0';
    fclose(f);
}

static void server_stop(struct server *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
}

/* ---- the router and its clients -------------------------------------------------------------- */

struct bench {
    struct server servers[SHARDS_MAX];
    unsigned shard_count;
    struct shard_client *client;
    struct router *router;
    struct select *select;
    struct tel_http_server *http;
};

/* Takes map over. */
static void router_serve(struct bench *b, struct shard_map *map, int hedge_after_ms)
{
    struct tel_error err;
    must(shard_client_rpc_new(&(struct shard_client_rpc_options){0}, &b->client, &err), &err);
    struct router_options options = {.hedge_after_ms = hedge_after_ms};
    b->router = router_new(&options, b->client, map, NULL);
    b->select = select_new(b->router, NULL);
    must(tel_http_server_new(
             &(struct tel_http_server_options){.address = "127.0.0.1:0", .connections_max = 4096},
             &b->http, &err),
         &err);
    select_add_routes(b->select, b->http);
    must(tel_http_server_start(b->http, &err), &err);
    shard_map_unref(map);
}

static void bench_start(struct bench *b, unsigned shards)
{
    struct tel_error err;
    struct shard_map *map = shard_map_new(0);
    b->shard_count = shards;
    for (unsigned i = 0; i < shards; i++) {
        server_start(&b->servers[i]);
        must(shard_map_add(map, i, b->servers[i].address, &err), &err);
    }
    router_serve(b, map, -1);
}

static void router_stop(struct bench *b)
{
    tel_http_server_free(b->http);
    select_free(b->select);
    router_free(b->router);
    b->client->ops->free(b->client);
}

static void bench_stop(struct bench *b)
{
    router_stop(b);
    for (unsigned i = 0; i < b->shard_count; i++)
        server_stop(&b->servers[i]);
}

static int connect_to(const char *address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    in.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0) {
        fprintf(stderr, "bench_router: %s\n", strerror(errno));
        exit(1);
    }
    return fd;
}

/* Reads an answer with Content-Length; false if it is no 200, or partial. */
static bool read_answer(int fd, struct tel_buf *buf)
{
    tel_buf_clear(buf);
    for (;;) {
        tel_buf_reserve(buf, 65536);
        ssize_t n = read(fd, buf->ptr + buf->len, 65535);
        if (n <= 0)
            return false;
        buf->len += (size_t)n;
        const char *text = tel_buf_cstr(buf), *head = strstr(text, "\r\n\r\n");
        if (!head)
            continue;
        const char *length = strstr(text, "Content-Length: ");
        if (!length || length > head || strncmp(text, "HTTP/1.1 200", 12) != 0 ||
            strstr(text, "X-Telescope-Partial"))
            return false;
        if (buf->len >= (size_t)(head + 4 - text) + strtoul(length + 16, NULL, 10))
            return true;
    }
}

struct times {
    TEL_VEC(int64_t) total, overhead;
    unsigned failed;
};

static void ask(int fd, struct tel_buf *buf, struct times *t)
{
    char request[512];
    unsigned number = atomic_fetch_add(&numbers, 1) % (SLOTS - 1) + 1;
    atomic_store(&slowest[number], 0);
    /* start= is how a search finds its query again: nanoseconds since the epoch. */
    int len =
        snprintf(request, sizeof(request),
                 "GET /select/logsql/query?query=block&limit=100&start=1970-01-01T00:00:00.%09uZ"
                 " HTTP/1.1\r\nHost: x\r\n\r\n",
                 number);
    int64_t begun = now_ns();
    bool ok = write(fd, request, (size_t)len) == len && read_answer(fd, buf);
    int64_t took = now_ns() - begun;
    if (!ok) {
        t->failed++;
        return;
    }
    tel_vec_push(&t->total, took);
    tel_vec_push(&t->overhead, took - atomic_load(&slowest[number]));
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile_ms(int64_t *v, size_t n, double p)
{
    if (n == 0)
        return -1;
    qsort(v, n, sizeof(*v), by_value);
    size_t i = (size_t)((double)(n - 1) * p);
    return (double)v[i] / 1e6;
}

/* ---- the control: no router ------------------------------------------------------------------ */

static void direct_rows(void *user, struct shard_search *s, Telescope__Shard__V1__RowBatch *batch)
{
    (void)user;
    (void)s;
    protobuf_c_message_free_unpacked(&batch->base, NULL);
}

static void direct_end(void *user, struct shard_search *s, tel_code code,
                       Telescope__Shard__V1__SearchEnd *end, const struct tel_error *err)
{
    (void)s;
    must(code, err);
    *(int64_t *)user = now_ns();
    protobuf_c_message_free_unpacked(&end->base, NULL);
}

/* The overhead of `queries` times a search of every shard, asked as a router asks. */
static void direct(struct bench *b, double *ret_p50, double *ret_p99)
{
    static const struct shard_events events = {direct_rows, direct_end};
    const struct shard_client_ops *ops = b->client->ops;
    TEL_VEC(int64_t) times = {0};
    uint32_t partition = 0;
    Telescope__Shard__V1__SearchRequest req = TELESCOPE__SHARD__V1__SEARCH_REQUEST__INIT;
    req.query = (char *)(uintptr_t) "block";
    req.max_rows = 100;
    req.rows_in_end = true;
    req.n_partitions = 1;
    req.partitions = &partition;
    for (unsigned i = 0; i < queries; i++) {
        unsigned number = atomic_fetch_add(&numbers, 1) % (SLOTS - 1) + 1;
        atomic_store(&slowest[number], 0);
        req.start_ns = number;
        int64_t begun = now_ns(), ended = 0;
        struct shard_gather *g = ops->gather(b->client);
        for (partition = 0; partition < b->shard_count; partition++)
            ops->search(g, b->servers[partition].address, &req, 10000, &events, &ended);
        while (ops->run(g, 50) > 0)
            ;
        ops->gather_free(g);
        tel_vec_push(&times, ended - begun - atomic_load(&slowest[number]));
    }
    *ret_p50 = percentile_ms(times.items, times.len, 0.5);
    *ret_p99 = percentile_ms(times.items, times.len, 0.99);
    tel_vec_free(&times);
}

static void overhead(unsigned shards, struct tel_buf *json)
{
    struct bench b = {.shard_count = 0};
    struct times t = {.failed = 0};
    struct tel_buf buf = {0};
    bench_start(&b, shards);
    int fd = connect_to(tel_http_server_address(b.http));
    for (unsigned i = 0; i < 20; i++) /* connections are made, caches are warm */
        ask(fd, &buf, &t);
    tel_vec_clear(&t.total);
    tel_vec_clear(&t.overhead);
    int64_t cpu = tel_process_cpu_ns();
    for (unsigned i = 0; i < queries; i++)
        ask(fd, &buf, &t);
    double cpu_us = (double)(tel_process_cpu_ns() - cpu) / 1e3 / queries;
    double p50 = percentile_ms(t.overhead.items, t.overhead.len, 0.5);
    double p99 = percentile_ms(t.overhead.items, t.overhead.len, 0.99);
    printf("%2u shards: overhead p50 %.3f ms, p99 %.3f ms; query p50 %.3f ms, p99 %.3f ms; "
           "CPU %.0f us a query; %u failed\n",
           shards, p50, p99, percentile_ms(t.total.items, t.total.len, 0.5),
           percentile_ms(t.total.items, t.total.len, 0.99), cpu_us, t.failed);
    fflush(stdout);
    tel_buf_printf(json, "\"overhead_%u\":{\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"failed\":%u},", shards,
                   p50, p99, t.failed);
    direct(&b, &p50, &p99);
    printf("   control, no router: overhead p50 %.3f ms, p99 %.3f ms\n", p50, p99);
    fflush(stdout);
    tel_buf_printf(json, "\"direct_%u\":{\"p50_ms\":%.3f,\"p99_ms\":%.3f},", shards, p50, p99);
    close(fd);
    tel_buf_free(&buf);
    tel_vec_free(&t.total);
    tel_vec_free(&t.overhead);
    bench_stop(&b);
}

/* ---- many at once ---------------------------------------------------------------------------- */

struct asker {
    pthread_t thread;
    const char *address;
    struct times t;
};

static void *asker_run(void *arg)
{
    struct asker *a = arg;
    struct tel_buf buf = {0};
    int fd = connect_to(a->address);
    for (unsigned i = 0; i < rounds; i++)
        ask(fd, &buf, &a->t);
    close(fd);
    tel_buf_free(&buf);
    return NULL;
}

static void many(unsigned shards, struct tel_buf *json)
{
    struct bench b = {.shard_count = 0};
    bench_start(&b, shards);
    struct asker *askers = tel_calloc(concurrent, sizeof(*askers));
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128u << 10);
    int64_t begun = now_ns(), cpu = tel_process_cpu_ns();
    unsigned started = 0;
    for (; started < concurrent; started++) {
        askers[started].address = tel_http_server_address(b.http);
        if (pthread_create(&askers[started].thread, &attr, asker_run, &askers[started]) != 0)
            break;
    }
    struct times all = {.failed = (concurrent - started) * rounds};
    for (unsigned i = 0; i < started; i++) {
        pthread_join(askers[i].thread, NULL);
        all.failed += askers[i].t.failed;
        for (size_t k = 0; k < askers[i].t.total.len; k++)
            tel_vec_push(&all.total, askers[i].t.total.items[k]);
        tel_vec_free(&askers[i].t.total);
        tel_vec_free(&askers[i].t.overhead);
    }
    double seconds = (double)(now_ns() - begun) / 1e9;
    double rate = (double)all.total.len / seconds;
    double cpu_us = (double)(tel_process_cpu_ns() - cpu) / 1e3 / (double)TEL_MAX(all.total.len, 1);
    double p50 = percentile_ms(all.total.items, all.total.len, 0.5);
    double p99 = percentile_ms(all.total.items, all.total.len, 0.99);
    printf("%u clients at once, %u shards: %.0f queries/s, p50 %.1f ms, p99 %.1f ms; CPU %.0f us a "
           "query, clients included; peak %.0f MB; %u failed\n",
           concurrent, shards, rate, p50, p99, cpu_us, (double)tel_process_peak_rss_bytes() / 1e6,
           all.failed);
    tel_buf_printf(json,
                   "\"concurrent\":{\"clients\":%u,\"shards\":%u,\"queries_per_second\":%.0f,"
                   "\"p50_ms\":%.1f,\"p99_ms\":%.1f,\"cpu_us\":%.0f,\"failed\":%u},",
                   concurrent, shards, rate, p50, p99, cpu_us, all.failed);
    pthread_attr_destroy(&attr);
    tel_vec_free(&all.total);
    free(askers);
    bench_stop(&b);
}

/* ---- processes, some of them failing --------------------------------------------------------- */

static void ask_phase(const struct bench *b, const char *name, const char *label,
                      struct tel_buf *json)
{
    struct times t = {.failed = 0};
    struct tel_buf buf = {0};
    int fd = connect_to(tel_http_server_address(b->http));
    ask(fd, &buf, &t);
    double first = t.total.len ? (double)t.total.items[0] / 1e6 : -1;
    for (unsigned i = 1; i < queries; i++)
        ask(fd, &buf, &t);
    double p50 = percentile_ms(t.total.items, t.total.len, 0.5);
    double p99 = percentile_ms(t.total.items, t.total.len, 0.99);
    double slowest_ms = percentile_ms(t.total.items, t.total.len, 1);
    printf("%2u processes, %s: query p50 %.3f ms, p99 %.3f ms, slowest %.1f ms (the first %.1f ms); "
           "%u of %u not complete\n",
           cluster_size, label, p50, p99, slowest_ms, first, t.failed, queries);
    tel_buf_printf(json,
                   "\"%s\":{\"processes\":%u,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"slowest_ms\":%.3f,"
                   "\"first_ms\":%.3f,\"queries\":%u,\"failed\":%u}",
                   name, cluster_size, p50, p99, slowest_ms, first, queries, t.failed);
    close(fd);
    tel_buf_free(&buf);
    tel_vec_free(&t.total);
    tel_vec_free(&t.overhead);
}

static void failing(struct tel_buf *json)
{
    struct server servers[SHARDS_MAX];
    struct bench b = {.shard_count = 0};
    struct tel_error err;
    struct shard_map *map = shard_map_new(0);
    for (unsigned i = 0; i < cluster_size; i++) {
        server_start(&servers[i]);
        must(shard_map_add(map, i, servers[i].address, &err), &err);
        must(shard_map_add(map, (i + cluster_size - 1) % cluster_size, servers[i].address, &err),
             &err);
    }
    router_serve(&b, map, (int)hedge_ms);
    ask_phase(&b, "cluster_well", "all well", json);
    for (unsigned i = 0, n = 0; i < cluster_size; i += 10, n++)
        if (i + 1 < cluster_size || i == 0)
            kill(servers[i].pid, n % 2 ? SIGKILL : SIGSTOP);
    tel_buf_add_char(json, ',');
    ask_phase(&b, "cluster_failing", "every tenth stopped or killed", json);
    router_stop(&b);
    for (unsigned i = 0; i < cluster_size; i++)
        server_stop(&servers[i]);
}

static void usage(void)
{
    puts("usage: bench_router [--work-ms N] [--rows N] [--queries N] [--clients N] [--rounds N]\n"
         "                    [--processes N] [--hedge-ms N]\n"
         "\n"
         "What a router adds to the slowest of 1, 4, 8 and 32 shards, and how it stands many "
         "clients\n"
         "at once over 8 shards; then a cluster of shard processes with two replicas, of which "
         "every\n"
         "tenth is stopped or killed. The last line is one JSON object.\n"
         "\n"
         "  --work-ms N   how long a shard works on a search (5)\n"
         "  --rows N      rows that each shard sends; 100 are answered (100)\n"
         "  --queries N   queries for each number of shards, one after the other (400)\n"
         "  --clients N   clients at once (1000)\n"
         "  --rounds N    queries of each (10)\n"
         "  --processes N shard processes of the failing cluster, at most 32; 0: none (32)\n"
         "  --hedge-ms N  how long the router waits there before it asks another replica (200)\n"
         "  --corpus F    taken and not used: the rows are made here\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"work-ms", required_argument, NULL, 'w'}, {"rows", required_argument, NULL, 'r'},
        {"queries", required_argument, NULL, 'q'}, {"clients", required_argument, NULL, 'c'},
        {"rounds", required_argument, NULL, 'n'},  {"corpus", required_argument, NULL, 'f'},
        {"processes", required_argument, NULL, 'p'}, {"hedge-ms", required_argument, NULL, 'e'},
        {"serve", required_argument, NULL, 's'},         {"help", no_argument, NULL, 'h'},
        {0}};
    int serve_fd = -1;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        unsigned v = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        if (c == 'w')
            work_ms = v;
        else if (c == 'r')
            row_count = v;
        else if (c == 'q')
            queries = TEL_MAX(v, 1);
        else if (c == 'c')
            concurrent = TEL_MAX(v, 1);
        else if (c == 'n')
            rounds = TEL_MAX(v, 1);
        else if (c == 'p' && v <= SHARDS_MAX && v != 1)
            cluster_size = v;
        else if (c == 'e')
            hedge_ms = TEL_MAX(v, 1);
        else if (c == 's')
            serve_fd = (int)v;
        else if (c != 'f') {
            usage();
            return c == 'h' ? 0 : 2;
        }
    }
    tel_limits_raise_open_files(65536);
    slots_map(serve_fd);
    if (serve_fd >= 0)
        serve();
    struct tel_buf json = {0};
    tel_buf_add_char(&json, '{');
    static const unsigned sizes[] = {1, 4, 8, 32};
    for (size_t i = 0; i < TEL_ARRAY_LEN(sizes); i++)
        overhead(sizes[i], &json);
    many(8, &json);
    if (cluster_size)
        failing(&json);
    else
        TEL_BUF_ADD_LIT(&json, "\"cluster_well\":null");
    tel_buf_add_char(&json, '}');
    puts(tel_buf_cstr(&json));
    tel_buf_free(&json);
    return 0;
}

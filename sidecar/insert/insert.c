/* The importer: its identity, the producer's thread, its routes. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/sys/fs.h"
#include "sidecar/insert/insert_internal.h"

#define DEFAULT_BODY_MAX     (UINT64_C(8) << 20)
#define WHOLE_TIMES          8 /* bodies that cannot be taken in pieces */
#define DEFAULT_DEAD_LETTERS (UINT64_C(64) << 20)
#define DEFAULT_SEND_MS      10000
#define GENERATION_MAX       ((UINT64_C(1) << 23) - 1) /* positions stay within a signed 64-bit number */

static void draw_id(char out[33])
{
    unsigned char raw[16];
    tel_rand_secure(raw, sizeof(raw));
    for (size_t i = 0; i < sizeof(raw); i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

/* DIR/insert.id holds "<id> <generation>\n". Counts the generation up and makes that durable before
 * any position is made of it. When generations run out, a new id begins again. */
static tel_code next_generation(struct tel_insert *in, const char *dir, struct tel_error *err)
{
    size_t n = strlen(dir) + 16;
    char *path = tel_malloc(n);
    snprintf(path, n, "%s/insert.id", dir);
    struct tel_buf text = {0};
    tel_code rc = tel_fs_read_all(in->fs, path, 256, &text, err);
    if (rc == TEL_OK) {
        struct tel_span rest = tel_span_trim(tel_buf_span(&text));
        struct tel_span id = tel_span_split(&rest, ' ');
        unsigned long long g = 0;
        if (id.len != 32 || !tel_span_to_u64(rest, &g)) {
            rc = tel_error_set(err, TEL_ERR_CORRUPT, "%s is damaged; remove it, and a new identity is drawn",
                               path);
        } else {
            memcpy(in->id, id.ptr, 32);
            in->generation = g + 1;
        }
    } else if (rc == TEL_ERR_NOTFOUND) {
        in->generation = GENERATION_MAX + 1;
        rc = TEL_OK;
    }
    if (rc == TEL_OK && in->generation > GENERATION_MAX) {
        draw_id(in->id);
        in->generation = 1;
    }
    if (rc == TEL_OK) {
        tel_buf_clear(&text);
        tel_buf_printf(&text, "%s %llu\n", in->id, (unsigned long long)in->generation);
        rc = tel_fs_write_atomic(in->fs, path, tel_buf_span(&text), err);
    }
    tel_buf_free(&text);
    free(path);
    return rc;
}

static void poll_producer(void *arg)
{
    struct tel_insert *in = arg;
    while (!atomic_load(&in->stop)) {
        if (tel_producer_poll(in->producer, 100) == 0)
            continue;
        tel_mutex_lock(&in->lock);
        tel_cond_broadcast(&in->progress);
        tel_mutex_unlock(&in->lock);
    }
}

tel_code tel_insert_new(const struct tel_insert_options *o, struct tel_insert **ret,
                        struct tel_error *err)
{
    struct tel_insert *in = TEL_NEW(struct tel_insert);
    in->transport = o->transport;
    in->fs = o->fs ? o->fs : tel_fs_system();
    in->clock = o->clock ? o->clock : tel_clock_system();
    in->framing = o->framing;
    in->piece_max = o->body_max ? o->body_max : DEFAULT_BODY_MAX;
    in->body_max = WHOLE_TIMES * in->piece_max;
    in->send_timeout_ms = o->send_timeout_ms ? o->send_timeout_ms : DEFAULT_SEND_MS;
    tel_mutex_init(&in->lock);
    tel_cond_init(&in->progress);
    tel_code rc = dead_letters_open(in->fs, o->dir,
                                    o->dead_letter_bytes ? o->dead_letter_bytes : DEFAULT_DEAD_LETTERS,
                                    &in->dead, err);
    if (rc == TEL_OK)
        rc = next_generation(in, o->dir, err);
    if (rc == TEL_OK)
        rc = tel_transport_producer(in->transport, &in->producer, err);
    if (rc == TEL_OK)
        rc = tel_thread_start(&in->poller, "insert-poll", poll_producer, in, err);
    if (rc != TEL_OK) {
        tel_insert_free(in);
        return tel_error_wrap(err, rc, "inserts by HTTP");
    }
    *ret = in;
    return TEL_OK;
}

void tel_insert_free(struct tel_insert *in)
{
    if (!in)
        return;
    atomic_store(&in->stop, true);
    tel_thread_join(&in->poller);
    tel_producer_free(in->producer); /* every message meets its fate: outcomes are all released */
    dead_letters_close(in->dead);
    for (size_t i = 0; i < in->lanes.len; i++)
        free(in->lanes.items[i]);
    tel_vec_free(&in->lanes);
    tel_cond_done(&in->progress);
    tel_mutex_done(&in->lock);
    free(in);
}

static void reply_id(void *ctx, struct tel_http_request *req)
{
    const struct tel_insert *in = ctx;
    tel_http_reply(req, 200, "text/plain; charset=utf-8", tel_span_cstr(in->id));
}

void tel_insert_routes(struct tel_insert *in, struct tel_http_server *server)
{
    tel_http_server_route(
        server, &(struct tel_http_route){.methods = "GET", .path = "/insert/id", .handler = reply_id, .ctx = in});
    insert_jsonline_routes(in, server);
    insert_loki_routes(in, server);
    insert_elastic_routes(in, server);
    insert_otlp_routes(in, server);
}

void tel_insert_stats(const struct tel_insert *insert, struct tel_insert_stats *ret)
{
    struct tel_insert *in = (struct tel_insert *)(uintptr_t)insert;
    *ret = (struct tel_insert_stats){
        .requests = atomic_load(&in->requests),
        .requests_failed = atomic_load(&in->failed),
        .events = atomic_load(&in->events),
        .bytes = atomic_load(&in->bytes),
        .bad_events = atomic_load(&in->bad),
        .dead_letters_lost = atomic_load(&in->dead_lost),
    };
}

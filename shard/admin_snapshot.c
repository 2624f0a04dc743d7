/*
 * The snapshot runs on a thread of its own; the connection's thread tells once a second how far it is,
 * which keeps the connection alive and finds out when the caller has gone.
 */
#include "shard/admin_snapshot.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/sys/thread.h"
#include "shard/shard.h"
#include "shard/snapshot/manifest.h"

#define TELL_MS      1000
#define DEST_MAX     4000u
#define PARTITIONS   1024u
#define TEXT_PLAIN   "text/plain"

struct job {
    struct shard_server *server;
    char *dest;
    TEL_VEC(uint32_t) partitions;
    uint64_t bytes_per_s;
    struct tel_thread thread;
    _Atomic bool gone;
    struct tel_mutex lock; /* guards what follows */
    struct tel_cond ended_cond;
    bool ended;
    uint64_t done, all;
    tel_code rc;
    struct tel_error err;
    struct manifest manifest;
};

static void job_free(struct job *job)
{
    manifest_done(&job->manifest);
    tel_vec_free(&job->partitions);
    tel_cond_done(&job->ended_cond);
    tel_mutex_done(&job->lock);
    free(job->dest);
    free(job);
}

/* ---- the snapshot's thread ---------------------------------------------------------------------- */

static bool is_gone(void *ctx)
{
    struct job *job = ctx;
    return atomic_load_explicit(&job->gone, memory_order_relaxed);
}

static void progress(void *ctx, uint64_t done, uint64_t all)
{
    struct job *job = ctx;
    tel_mutex_lock(&job->lock);
    job->done = done;
    job->all = all;
    tel_mutex_unlock(&job->lock);
}

static void run(void *arg)
{
    struct job *job = arg;
    struct shard_snapshot_request request = {
        .dest = job->dest,
        .partitions = job->partitions.len ? job->partitions.items : NULL,
        .partition_count = job->partitions.len,
        .bytes_per_s = job->bytes_per_s,
        .gone = is_gone,
        .progress = progress,
        .ctx = job,
    };
    struct manifest manifest = {0};
    struct tel_error err = {0};
    tel_code rc = shard_server_snapshot(job->server, &request, &manifest, &err);
    tel_mutex_lock(&job->lock);
    job->rc = rc;
    job->err = err;
    if (rc == TEL_OK)
        job->manifest = manifest;
    job->ended = true;
    tel_cond_broadcast(&job->ended_cond);
    tel_mutex_unlock(&job->lock);
}

/* ---- the connection's thread -------------------------------------------------------------------- */

static void tell_end(const struct job *job, struct tel_buf *out)
{
    uint64_t events = 0, damaged = 0;
    if (job->rc != TEL_OK) {
        tel_buf_printf(out, "error %s\n", job->err.text);
        return;
    }
    for (size_t i = 0; i < job->manifest.partitions.len; i++) {
        events += job->manifest.partitions.items[i].events;
        damaged += job->manifest.partitions.items[i].damaged;
    }
    tel_buf_printf(out, "done %s: %zu partitions, %" PRIu64 " events", job->dest,
                   job->manifest.partitions.len, events);
    if (damaged)
        tel_buf_printf(out, "; %" PRIu64 " segments are damaged, and so they are in it", damaged);
    tel_buf_printf(out, "\n");
}

static enum tel_http_pull pull(void *ctx, struct tel_http_request *req, struct tel_buf *out)
{
    struct job *job = ctx;
    int64_t deadline = tel_deadline_ms(TELL_MS);
    (void)req;
    tel_mutex_lock(&job->lock);
    while (!job->ended && tel_cond_wait_until(&job->ended_cond, &job->lock, deadline))
        ;
    bool ended = job->ended;
    if (ended)
        tell_end(job, out);
    else
        tel_buf_printf(out, "%" PRIu64 " of %" PRIu64 " bytes\n", job->done, job->all);
    tel_mutex_unlock(&job->lock);
    return ended ? TEL_HTTP_END : TEL_HTTP_MORE;
}

static void finished(void *ctx)
{
    struct job *job = ctx;
    atomic_store(&job->gone, true);
    tel_thread_join(&job->thread);
    job_free(job);
}

/* ---- the request -------------------------------------------------------------------------------- */

static bool from_this_machine(const struct tel_http_request *req)
{
    struct tel_span peer = tel_span_cstr(tel_http_peer(req));
    return tel_span_starts(peer, TEL_SPAN("127.")) || tel_span_starts(peer, TEL_SPAN("[::1]:")) ||
           tel_span_starts(peer, TEL_SPAN("[::ffff:127."));
}

/* A name that stays in its folder. */
static bool is_plain_name(struct tel_span s)
{
    if (s.len == 0 || s.len > 255 || s.ptr[0] == '.')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '/' || (unsigned char)s.ptr[i] < ' ')
            return false;
    return true;
}

/* Where it goes, to be freed; or NULL, and the request has been answered. */
static char *choose_dest(const struct admin_snapshot *admin, struct tel_http_request *req)
{
    struct tel_span dest, header;
    if (!tel_http_header(req, SHARD_SNAPSHOT_HEADER, &header)) {
        tel_http_reply_error(req, 403, "the header " SHARD_SNAPSHOT_HEADER " is missing");
        return NULL;
    }
    if (!tel_http_param(req, "dest", &dest) || dest.len > DEST_MAX ||
        memchr(dest.ptr, '\0', dest.len)) {
        tel_http_reply_error(req, 400, "dest: where it goes");
        return NULL;
    }
    if (*admin->dir && !is_plain_name(dest)) {
        tel_http_reply_error(req, 400, "dest: a name in the folder snapshot.dir");
        return NULL;
    }
    if (!*admin->dir && !from_this_machine(req)) {
        tel_http_reply_error(req, 403, "without snapshot.dir only callers on this machine may ask");
        return NULL;
    }
    if (!*admin->dir && dest.ptr[0] != '/') {
        tel_http_reply_error(req, 400, "dest: an absolute path");
        return NULL;
    }
    struct tel_buf path = {0};
    if (*admin->dir)
        tel_buf_printf(&path, "%s/", admin->dir);
    tel_buf_add_span(&path, dest);
    char *ret = tel_strndup(tel_buf_span(&path));
    tel_buf_free(&path);
    return ret;
}

static bool read_numbers(const struct admin_snapshot *admin, struct tel_http_request *req,
                         struct job *job)
{
    size_t count;
    const struct tel_http_pair *params = tel_http_params(req, &count);
    job->bytes_per_s = admin->bytes_per_s;
    for (size_t i = 0; i < count; i++) {
        unsigned long long v;
        bool rate = tel_span_eq_cstr(params[i].name, "rate");
        if (!rate && !tel_span_eq_cstr(params[i].name, "partition"))
            continue;
        if (!tel_span_to_u64(params[i].value, &v) || (!rate && v > INT32_MAX) ||
            job->partitions.len >= PARTITIONS)
            return false;
        if (!rate)
            tel_vec_push(&job->partitions, (uint32_t)v);
        else if (v && (v < job->bytes_per_s || !job->bytes_per_s))
            job->bytes_per_s = v;
    }
    return true;
}

void admin_snapshot_handle(void *ctx, struct tel_http_request *req)
{
    const struct admin_snapshot *admin = ctx;
    char *dest = choose_dest(admin, req);
    if (!dest)
        return;
    struct job *job = TEL_NEW(struct job);
    job->server = admin->server;
    job->dest = dest;
    tel_mutex_init(&job->lock);
    tel_cond_init(&job->ended_cond);
    struct tel_error err;
    if (!read_numbers(admin, req, job)) {
        tel_http_reply_error(req, 400, "partition, rate: numbers");
        job_free(job);
        return;
    }
    tel_code rc = tel_thread_start(&job->thread, "snapshot", run, job, &err);
    if (rc != TEL_OK) {
        tel_http_reply_error(req, tel_http_status_of(rc), "%s", err.text);
        job_free(job);
        return;
    }
    tel_http_stream(req, 200, TEXT_PLAIN, pull, finished, job);
}

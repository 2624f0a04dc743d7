#include "sidecar/pipeline.h"

#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "sidecar/checkpoint.h"
#include "sidecar/sidecar.h"
#include "sidecar/source.h"

#define TEL_LOG_COMPONENT "pipeline"
#include "common/base/log.h"

#define CHUNK_EVENTS  128u
#define CHUNK_BYTES   ((size_t)64 << 10)
#define BODY_MAX      ((size_t)1 << 20)
#define LABELS_MAX    64u
#define STATE_MAX     4096u
#define ID_MAX        512u
#define BUFFERS_KEPT  8u
#define BUFFERS_BYTES ((size_t)4 << 20)

void pipeline_init(struct pipeline *p, const struct pipeline_options *options)
{
    *p = (struct pipeline){.o = *options};
    tel_map_init(&p->by_id);
    tel_mutex_init(&p->done_lock);
    transform_chain(options->input, p->chain);
}

void pipeline_done(struct pipeline *p)
{
    while (p->sources.len)
        source_free(p->sources.items[p->sources.len - 1]);
    for (size_t i = 0; i < p->writers.len; i++) {
        tel_record_writer_free(p->writers.items[i]);
        free(p->writers.items[i]);
    }
    for (size_t i = 0; i < p->buffers.len; i++)
        tel_buf_free(&p->buffers.items[i]);
    tel_vec_free(&p->sources);
    tel_vec_free(&p->writers);
    tel_vec_free(&p->buffers);
    tel_map_free(&p->by_id);
    tel_arena_free(&p->scratch);
    tel_mutex_done(&p->done_lock);
}

/* ---- sources ------------------------------------------------------------------------------ */

static bool printable(struct telescope_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x20 || s.ptr[i] > 0x7e)
            return false;
    return s.len > 0;
}

static void set_labels(struct source *s, const struct telescope_source_spec *spec)
{
    struct pipeline *p = s->pipeline;
    transform_labels labels = {0};
    if (p->o.host && *p->o.host)
        tel_vec_push(&labels, ((struct tel_field){TEL_SPAN("host"), tel_span_cstr(p->o.host)}));
    for (size_t i = 0; i < spec->label_count; i++) {
        const struct telescope_pair *pair = &spec->labels[i];
        tel_vec_push(&labels,
                     ((struct tel_field){tel_span_make(pair->name.ptr, pair->name.len),
                                         tel_span_make(pair->value.ptr, pair->value.len)}));
    }
    for (size_t i = 0; p->chain[i]; i++)
        if (p->chain[i]->source)
            p->chain[i]->source(p->o.input, &labels, &p->scratch);
    s->label_count = (uint32_t)labels.len;
    s->labels = TEL_ARENA_ARRAY(&s->memory, struct tel_field, labels.len);
    for (size_t i = 0; i < labels.len; i++) {
        s->labels[i].name = tel_arena_copy(&s->memory, labels.items[i].name);
        s->labels[i].value = tel_arena_copy(&s->memory, labels.items[i].value);
    }
    tel_vec_free(&labels);
    tel_arena_reset(&p->scratch);
}

static struct source *source_new(struct pipeline *p, const struct telescope_source_spec *spec)
{
    struct source *s = TEL_NEW(struct source);
    s->pipeline = p;
    tel_arena_init(&s->memory, 512);
    s->id = tel_arena_copy(&s->memory, tel_span_make(spec->id.ptr, spec->id.len));
    s->index = p->sources.len;
    set_labels(s, spec);
    for (size_t i = 0; p->chain[i]; i++)
        if (p->chain[i]->state_size)
            s->transform_state[i] = tel_arena_calloc(&s->memory, 1, p->chain[i]->state_size);
    *tel_map_put(&p->by_id, s->id, NULL) = s->index;
    tel_vec_push(&p->sources, s);
    atomic_fetch_add(&p->counters.sources, 1);
    s->entry = checkpoint_find(p->o.checkpoint, p->o.input->name, s->id);
    if (s->entry)
        s->told = s->acked = s->taken = s->floor = s->entry->position;
    return s;
}

struct source *pipeline_open(struct pipeline *p, const struct telescope_source_spec *spec,
                             uint64_t *ret_position, struct tel_error *err)
{
    if (!printable(spec->id) || spec->id.len > ID_MAX) {
        tel_error_set(err, TEL_ERR_INVALID, "a source's id must be 1 to %u printable bytes",
                      ID_MAX);
        return NULL;
    }
    if (spec->label_count > LABELS_MAX || spec->state.len > STATE_MAX) {
        tel_error_set(err, TEL_ERR_LIMIT, "source %.*s has %zu labels and %zu bytes of state",
                      (int)spec->id.len, spec->id.ptr, spec->label_count, spec->state.len);
        return NULL;
    }
    uint64_t *index = tel_map_get(&p->by_id, tel_span_make(spec->id.ptr, spec->id.len));
    struct source *s = index ? p->sources.items[*index] : source_new(p, spec);
    if (index && !s->closed) {
        tel_error_set(err, TEL_ERR_EXISTS, "source %.*s is open already", (int)spec->id.len,
                      spec->id.ptr);
        return NULL;
    }
    s->closed = s->forget = false;
    s->user = spec->user;
    pipeline_set_state(s, tel_span_make(spec->state.ptr, spec->state.len));
    *ret_position = s->acked;
    (void)source_send(s, tel_mono_ns(p->o.clock)); /* it shall be known after a crash */
    return s;
}

void pipeline_set_state(struct source *s, struct tel_span state)
{
    state.len = TEL_MIN(state.len, STATE_MAX);
    tel_buf_clear(&s->state);
    tel_buf_add_span(&s->state, state);
    if (s->entry)
        checkpoint_set_state(s->pipeline->o.checkpoint, s->entry, state);
}

void pipeline_close(struct source *s, bool forget)
{
    s->closed = true;
    s->forget = forget;
    s->user = NULL;
    source_seal(s);
    source_settle(s);
}

void pipeline_forget(struct pipeline *p, struct tel_span id)
{
    uint64_t *index = tel_map_get(&p->by_id, id);
    if (index) {
        struct source *s = p->sources.items[*index];
        if (s->closed)
            s->forget = true;
        return;
    }
    struct checkpoint_entry *e = checkpoint_find(p->o.checkpoint, p->o.input->name, id);
    if (e)
        checkpoint_remove(p->o.checkpoint, e);
}

void pipeline_close_all(struct pipeline *p)
{
    for (size_t i = p->sources.len; i-- > 0;)
        if (!p->sources.items[i]->closed)
            pipeline_close(p->sources.items[i], false);
}

/* ---- taking records ----------------------------------------------------------------------- */

static struct tel_record_writer *writer_get(struct pipeline *p)
{
    struct tel_record_writer *w =
        p->writers.len ? p->writers.items[--p->writers.len] : TEL_NEW(struct tel_record_writer);
    if (p->buffers.len) {
        w->buf = p->buffers.items[--p->buffers.len];
        p->buffers_bytes -= w->buf.cap;
    }
    return w;
}

void pipeline_keep_buffer(struct pipeline *p, struct tel_buf *buf)
{
    if (p->buffers.len < BUFFERS_KEPT && p->buffers_bytes + buf->cap <= BUFFERS_BYTES) {
        p->buffers_bytes += buf->cap;
        tel_buf_clear(buf);
        tel_vec_push(&p->buffers, *buf);
        *buf = (struct tel_buf){0};
    } else {
        tel_buf_free(buf);
    }
}

/* A writer that is not needed now, with what is left in it. */
void pipeline_keep_writer(struct pipeline *p, struct tel_record_writer *w)
{
    if (w->buf.ptr) {
        pipeline_hold(p, -(int64_t)w->buf.cap);
        pipeline_keep_buffer(p, &w->buf);
    }
    tel_vec_push(&p->writers, w);
}

void pipeline_hold(struct pipeline *p, int64_t bytes)
{
    atomic_fetch_add_explicit(&p->o.budget->held, bytes, memory_order_relaxed);
}

/* Opens a batch. False: the source's head itself is not acceptable (labels). */
static bool open_batch(struct source *s)
{
    struct pipeline *p = s->pipeline;
    struct tel_error err;
    char name[1024];
    struct tel_batch head = {
        .tenant = tel_span_cstr(p->o.tenant),
        .source = source_name(s, name, sizeof(name)),
        .resource = s->labels,
        .resource_count = s->label_count,
    };
    s->writer = writer_get(p);
    s->opened_ns = tel_mono_ns(p->o.clock);
    tel_code rc = tel_record_writer_begin(s->writer, &p->o.framing, &head, &err);
    pipeline_hold(p, (int64_t)s->writer->buf.cap);
    if (rc != TEL_OK) {
        tel_log_error("a source's labels are not acceptable", tel_kv_span("source", head.source),
                      tel_kv_error(&err));
        pipeline_keep_writer(p, s->writer);
        s->writer = NULL;
        return false;
    }
    if (!s->first)
        source_list(s);
    return true;
}

static void reject(struct source *s, const struct tel_error *err)
{
    atomic_fetch_add_explicit(&s->pipeline->counters.events_rejected, 1, memory_order_relaxed);
    tel_log_error("an event is not acceptable", tel_kv_span("source", s->id), tel_kv_error(err));
}

static void add_event(struct source *s, const struct tel_event *event)
{
    struct pipeline *p = s->pipeline;
    struct tel_error err;
    size_t times = s->first ? PIPELINE_GROWTH : 1;
    if (!s->writer && !open_batch(s)) {
        tel_error_set(&err, TEL_ERR_INVALID, "no batch for it");
        reject(s, &err);
        return;
    }
    size_t cap = s->writer->buf.cap;
    tel_code rc = tel_record_writer_add(s->writer, event, &err);
    if (rc == TEL_ERR_AGAIN) {
        source_seal(s);
        rc = open_batch(s) ? tel_record_writer_add(s->writer, event, &err) : TEL_ERR_INVALID;
    } else if (TEL_UNLIKELY(s->writer->buf.cap != cap)) {
        pipeline_hold(p, (int64_t)(s->writer->buf.cap - cap));
    }
    s->taken = event->position;
    if (TEL_UNLIKELY(rc != TEL_OK))
        reject(s, &err);
    else if (tel_record_writer_size(s->writer) >= times * p->o.batch_bytes ||
             s->writer->events >= times * p->o.batch_events)
        source_seal(s);
}

static struct tel_span span_of(struct telescope_str s)
{
    return tel_span_make(s.ptr, s.len);
}

static void convert(struct pipeline *p, const struct telescope_record *r, struct tel_event *e)
{
    *e = (struct tel_event){
        .timestamp_ns = r->timestamp_ns,
        .position = r->position,
        .severity = r->severity,
        .attribute_count = r->attribute_count,
        .body = span_of(r->body),
        .trace_id = span_of(r->trace_id),
        .span_id = span_of(r->span_id),
    };
    if (TEL_UNLIKELY(r->attribute_count)) {
        struct tel_field *f = TEL_ARENA_ARRAY(&p->scratch, struct tel_field, r->attribute_count);
        for (uint32_t i = 0; i < r->attribute_count; i++)
            f[i] = (struct tel_field){span_of(r->attributes[i].name),
                                      span_of(r->attributes[i].value)};
        e->attributes = f;
    }
}

/* How many of the records make the next chunk; 0 with an error if the first is not acceptable. */
static size_t chunk_of(const struct source *s, const struct telescope_record *records, size_t count,
                       size_t *ret_bytes, struct tel_error *err)
{
    size_t n = 0, bytes = 0;
    uint64_t last = s->taken;
    for (; n < count && n < CHUNK_EVENTS && bytes < CHUNK_BYTES; n++) {
        const struct telescope_record *r = &records[n];
        if (r->position <= last || r->body.len > BODY_MAX ||
            r->attribute_count > TEL_ATTRIBUTES_MAX)
            break;
        last = r->position;
        bytes += r->body.len;
    }
    if (n == 0)
        tel_error_set(err, TEL_ERR_INVALID,
                      "record at position %llu behind %llu, with %zu bytes and %u attributes",
                      (unsigned long long)records->position, (unsigned long long)last,
                      records->body.len, records->attribute_count);
    *ret_bytes = bytes;
    return n;
}

static void take_chunk(struct source *s, const struct telescope_record *records, size_t count,
                       int64_t now_ns)
{
    struct pipeline *p = s->pipeline;
    struct tel_event events[CHUNK_EVENTS];
    struct transform_events ev = {events, count, now_ns, &p->scratch};
    for (size_t i = 0; i < count; i++)
        convert(p, &records[i], &events[i]);
    for (size_t i = 0; p->chain[i]; i++)
        if (p->chain[i]->events)
            p->chain[i]->events(s->transform_state[i], &ev);
    int64_t observed = records[0].observed_ns ? records[0].observed_ns : now_ns;
    for (size_t i = 0; i < ev.count; i++) {
        if (!events[i].timestamp_ns)
            events[i].timestamp_ns = observed;
        add_event(s, &events[i]);
    }
    s->taken = records[count - 1].position;
    if (ev.count < count)
        atomic_fetch_add_explicit(&p->counters.events_dropped, count - ev.count,
                                  memory_order_relaxed);
    if (p->scratch.bytes)
        tel_arena_reset(&p->scratch);
}

enum telescope_result pipeline_take(struct source *s, const struct telescope_record *records,
                                    size_t count, size_t *ret_taken, struct tel_error *err)
{
    struct pipeline *p = s->pipeline;
    int64_t now_ns = tel_wall_ns(p->o.clock);
    size_t taken = 0, bytes_all = 0;
    enum telescope_result result = TELESCOPE_OK;
    while (taken < count) {
        size_t bytes;
        if (pipeline_full(p)) {
            result = TELESCOPE_FULL;
            break;
        }
        size_t n = chunk_of(s, records + taken, count - taken, &bytes, err);
        if (n == 0) {
            result = TELESCOPE_FAILED;
            break;
        }
        take_chunk(s, records + taken, n, now_ns);
        taken += n;
        bytes_all += bytes;
    }
    atomic_fetch_add_explicit(&p->counters.events_read, taken, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->counters.bytes_read, bytes_all, memory_order_relaxed);
    source_settle(s);
    *ret_taken = taken;
    return result;
}

/* ---- moving on ---------------------------------------------------------------------------- */

bool pipeline_full(const struct pipeline *p)
{
    return atomic_load_explicit(&p->o.budget->held, memory_order_relaxed) >= p->o.budget->limit;
}

bool pipeline_busy(const struct pipeline *p)
{
    if (p->oldest)
        return true;
    for (size_t i = 0; i < p->sources.len; i++)
        if (p->sources.items[i]->first)
            return true;
    return false;
}

static void take_deliveries(struct pipeline *p)
{
    tel_mutex_lock(&p->done_lock);
    struct batch *done = p->done;
    p->done = NULL;
    tel_mutex_unlock(&p->done_lock);
    while (done) {
        struct batch *next = done->next_done;
        source_delivered(done);
        done = next;
    }
}

/* Lets each source that could not send try again; those that still cannot line up anew. Settling one
 * may end another, if the plugin closes it: so the line is looked at anew each time. */
static int64_t send_waiting(struct pipeline *p, int64_t now)
{
    int64_t next = TEL_NO_DEADLINE;
    size_t count = 0;
    for (const struct source *s = p->waiting_first; s; s = s->next_waiting)
        count++;
    while (count-- > 0 && p->waiting_first) {
        struct source *s = p->waiting_first;
        source_leave_line(s);
        int64_t again = source_send(s, now);
        next = TEL_MIN(next, again);
        source_settle(s);
    }
    return next;
}

int64_t pipeline_step(struct pipeline *p, bool flush)
{
    take_deliveries(p);
    int64_t now = tel_mono_ns(p->o.clock);
    /* When open batches have used up the budget, only sending them frees it. */
    flush |= pipeline_full(p);
    while (p->oldest && (flush || p->oldest->opened_ns + p->o.batch_age_ns <= now)) {
        struct source *s = p->oldest;
        source_seal(s);
        source_settle(s);
    }
    int64_t next = p->waiting_first ? send_waiting(p, now) : TEL_NO_DEADLINE;
    return p->oldest ? TEL_MIN(next, p->oldest->opened_ns + p->o.batch_age_ns) : next;
}

void pipeline_delivered(void *batch, tel_code code, int64_t offset, const struct tel_error *err)
{
    struct batch *b = batch;
    struct pipeline *p = b->source->pipeline;
    (void)offset;
    b->fate = code; /* ours until it is in the list: it is the only one of its source in flight */
    if (code != TEL_OK && code != TEL_ERR_CLOSED)
        tel_log_warn("a delivery failed", tel_kv_str("code", tel_code_name(code)),
                     tel_kv_str("error", err ? err->text : ""));
    tel_mutex_lock(&p->done_lock);
    b->next_done = p->done;
    p->done = b;
    tel_mutex_unlock(&p->done_lock);
    tel_waker_wake(p->o.waker);
}

/*
 * Decoding: the frame tells the writer's schema; ours goes the fast path below, any other to
 * resolve.c. The fast path reads the message once, left to right. Each size is held against what is
 * left of the message and against its cap before memory is taken for it: what is allocated is in
 * proportion to the bytes that are really there.
 */
#include "common/record/decode.h"

#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/record/check.h"
#include "common/record/codec.h"
#include "common/record/resolve.h"

/* The fewest bytes of an event (seven fields of one byte) and of a map's entry. */
enum { EVENT_LEAST = 7, ENTRY_LEAST = 2 };

/* ---- Avro's building blocks ---------------------------------------------------------------- */

bool tel_avro_bad_varint(struct tel_avro_cursor *c)
{
    return tel_avro_left(c) < TEL_VARINT_MAX
               ? tel_avro_fail(c, TEL_ERR_TRUNCATED, "a number is cut short")
               : tel_avro_fail(c, TEL_ERR_CORRUPT, "a number has more than 64 bits");
}

bool tel_avro_block(struct tel_avro_cursor *c, uint64_t room, size_t least, uint32_t *ret_count,
                    const char **ret_end)
{
    const char *at = c->pos;
    int64_t count = 0, size = 0;
    *ret_end = NULL;
    if (!tel_avro_long(c, &count))
        return false;
    if (TEL_UNLIKELY(count < 0)) { /* its size in bytes follows, for readers that skip it */
        if (count == INT64_MIN)
            return tel_avro_fail_at(c, at, TEL_ERR_CORRUPT, "a block's count is out of range");
        count = -count;
        if (!tel_avro_long(c, &size))
            return false;
        if (size < 0 || (uint64_t)size > tel_avro_left(c))
            return tel_avro_fail_at(c, at, size < 0 ? TEL_ERR_CORRUPT : TEL_ERR_TRUNCATED,
                                    "a block's size is not that of its bytes");
        *ret_end = c->pos + size;
    }
    if (TEL_UNLIKELY((uint64_t)count > room))
        return tel_avro_fail_at(c, at, TEL_ERR_LIMIT, "more items than the limit");
    if (TEL_UNLIKELY((uint64_t)count > tel_avro_left(c) / least))
        return tel_avro_fail_at(c, at, TEL_ERR_TRUNCATED, "more items than bytes are left");
    *ret_count = (uint32_t)count;
    return true;
}

/* ---- our schema ---------------------------------------------------------------------------- */

struct fast {
    struct tel_avro_cursor c;
    struct tel_arena *arena;
    struct tel_record_names names;
    uint32_t fields; /* attributes so far */
};

/* A map; usually one block and its end, then the array is made once and fits. For writers that make
 * many small blocks it doubles, so that memory stays in proportion. */
static bool read_map(struct fast *f, uint32_t max, struct tel_field **ret, uint32_t *ret_count)
{
    struct tel_field *fields = NULL;
    uint32_t n = 0, cap = 0, block = 0;
    const char *block_end = NULL;
    if (TEL_LIKELY(f->c.pos < f->c.end && *f->c.pos == 0)) { /* most events have none */
        f->c.pos++;
        *ret = NULL;
        *ret_count = 0;
        return true;
    }
    for (;;) {
        if (!tel_avro_block(&f->c, max - n, ENTRY_LEAST, &block, &block_end))
            return false;
        if (block == 0)
            break;
        if (n + block > cap) {
            cap = TEL_MAX(n + block, cap * 2);
            struct tel_field *wider = tel_arena_alloc_aligned(
                f->arena, (size_t)cap * sizeof *fields, _Alignof(struct tel_field));
            if (n > 0)
                memcpy(wider, fields, n * sizeof *fields);
            fields = wider;
        }
        for (uint32_t i = 0; i < block; i++, n++) {
            if (!tel_avro_bytes(&f->c, TEL_NAME_BYTES_MAX, &fields[n].name) ||
                !tel_avro_bytes(&f->c, TEL_BATCH_BYTES_MAX, &fields[n].value))
                return false;
        }
        if (!tel_avro_block_end(&f->c, block_end))
            return false;
    }
    *ret = fields;
    *ret_count = n;
    return true;
}

static bool read_optional(struct tel_avro_cursor *c, struct tel_span *ret)
{
    const char *at = c->pos;
    int64_t branch = 0;
    if (!tel_avro_long(c, &branch))
        return false;
    if (branch == 0) {
        *ret = tel_span_make(NULL, 0);
        return true;
    }
    if (branch != 1)
        return tel_avro_fail_at(c, at, TEL_ERR_CORRUPT, "a union has no such branch");
    return tel_avro_bytes(c, TEL_NAME_BYTES_MAX, ret);
}

static bool verdict(struct tel_avro_cursor *c, const char *at, struct tel_record_verdict v)
{
    return v.code == TEL_OK || tel_avro_fail_at(c, at, v.code, v.what);
}

static bool read_event(struct fast *f, const uint64_t *previous, struct tel_event *e)
{
    struct tel_avro_cursor *c = &f->c;
    const char *at = c->pos;
    int64_t position = 0, severity = 0;
    struct tel_field *attributes = NULL;
    if (!tel_avro_long(c, &e->timestamp_ns) || !tel_avro_long(c, &position) ||
        !tel_avro_long(c, &severity) || !tel_avro_bytes(c, TEL_BODY_BYTES_MAX, &e->body))
        return false;
    uint32_t room = TEL_MIN(TEL_ATTRIBUTES_MAX, TEL_BATCH_FIELDS_MAX - f->fields);
    if (!read_map(f, room, &attributes, &e->attribute_count) ||
        !read_optional(c, &e->trace_id) || !read_optional(c, &e->span_id))
        return false;
    f->fields += e->attribute_count;
    e->attributes = attributes;
    e->position = (uint64_t)position; /* a negative one becomes huge and is refused */
    e->severity = severity < 0 || severity > UINT32_MAX ? UINT32_MAX : (uint32_t)severity;
    return verdict(c, at, tel_record_check_event(e, previous, &f->names));
}

static bool read_events(struct fast *f, struct tel_batch *b)
{
    struct tel_event *events = NULL;
    uint32_t n = 0, cap = 0, block = 0;
    const char *block_end = NULL;
    for (;;) {
        if (!tel_avro_block(&f->c, TEL_BATCH_EVENTS_MAX - n, EVENT_LEAST, &block, &block_end))
            return false;
        if (block == 0)
            break;
        if (n + block > cap) {
            cap = TEL_MAX(n + block, cap * 2);
            struct tel_event *wider = tel_arena_alloc_aligned(
                f->arena, (size_t)cap * sizeof *events, _Alignof(struct tel_event));
            if (n > 0)
                memcpy(wider, events, n * sizeof *events);
            events = wider;
        }
        for (uint32_t i = 0; i < block; i++, n++)
            if (!read_event(f, n ? &events[n - 1].position : NULL, &events[n]))
                return false;
        if (!tel_avro_block_end(&f->c, block_end))
            return false;
    }
    b->events = events;
    b->event_count = n;
    return true;
}

static bool read_batch(struct fast *f, struct tel_batch *b)
{
    struct tel_field *labels = NULL;
    const char *at = f->c.pos;
    if (!tel_avro_bytes(&f->c, TEL_TENANT_BYTES_MAX, &b->tenant) ||
        !read_map(f, TEL_RESOURCE_LABELS_MAX, &labels, &b->resource_count) ||
        !tel_avro_bytes(&f->c, TEL_SOURCE_BYTES_MAX, &b->source))
        return false;
    b->resource = labels;
    if (!verdict(&f->c, at, tel_record_check_head(b->tenant, b->source, labels, b->resource_count)))
        return false;
    if (!read_events(f, b))
        return false;
    return f->c.pos == f->c.end ||
           tel_avro_fail(&f->c, TEL_ERR_CORRUPT, "bytes are left over behind the batch");
}

static tel_code decode_fast(struct tel_span message, size_t skip, struct tel_arena *arena,
                            struct tel_batch *ret, struct tel_error *err)
{
    struct fast f = {.c = {.start = message.ptr,
                           .pos = message.ptr + skip,
                           .end = message.ptr + message.len},
                     .arena = arena,
                     .names = {.arena = arena}};
    struct tel_batch batch = {0};
    if (!read_batch(&f, &batch))
        return tel_error_set(err, f.c.code, "byte %zu of %zu: %s", f.c.at, message.len, f.c.what);
    *ret = batch;
    return TEL_OK;
}

/* ---- frames and writer schemas ------------------------------------------------------------- */

/* A writer schema that was looked up: ours under another name, one that can be resolved, or one that
 * cannot (then why). */
struct known_schema {
    enum tel_record_frame frame;
    uint64_t id;
    bool ours;
    struct tel_record_resolver *resolver;
    struct tel_error why;
};

struct tel_record_decoder {
    tel_record_schema_lookup *lookup;
    void *ctx;
    TEL_VEC(struct known_schema *) known; /* few */
};

struct tel_record_decoder *tel_record_decoder_new(tel_record_schema_lookup *lookup, void *ctx)
{
    struct tel_record_decoder *d = TEL_NEW(struct tel_record_decoder);
    d->lookup = lookup;
    d->ctx = ctx;
    return d;
}

void tel_record_decoder_free(struct tel_record_decoder *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->known.len; i++) {
        tel_record_resolver_free(d->known.items[i]->resolver);
        free(d->known.items[i]);
    }
    tel_vec_free(&d->known);
    free(d);
}

static tel_code read_frame(struct tel_span m, enum tel_record_frame *ret_frame, uint64_t *ret_id,
                           size_t *ret_skip, struct tel_error *err)
{
    const unsigned char *p = (const unsigned char *)m.ptr;
    if (m.len > TEL_BATCH_BYTES_MAX)
        return tel_error_set(err, TEL_ERR_LIMIT, "the message has %zu bytes, over the limit of %u",
                             m.len, TEL_BATCH_BYTES_MAX);
    if (m.len >= 10 && p[0] == 0xc3 && p[1] == 0x01) {
        uint64_t id = 0;
        for (int i = 9; i >= 2; i--)
            id = id << 8 | p[i];
        *ret_id = id;
        *ret_frame = TEL_RECORD_SINGLE_OBJECT;
        *ret_skip = 10;
        return TEL_OK;
    }
    if (m.len >= 5 && p[0] == 0) {
        *ret_id = (uint64_t)p[1] << 24 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 8 | p[4];
        *ret_frame = TEL_RECORD_CONFLUENT;
        *ret_skip = 5;
        return TEL_OK;
    }
    if (m.len == 0 || p[0] == 0 || (p[0] == 0xc3 && (m.len == 1 || p[1] == 0x01)))
        return tel_error_set(err, TEL_ERR_TRUNCATED, "byte %zu of %zu: the frame is cut short", m.len,
                             m.len);
    return tel_error_set(err, TEL_ERR_CORRUPT,
                         "byte 0 of %zu: neither Avro's single-object frame nor Confluent's", m.len);
}

/* Only answers that will stay the same are kept: a look-up that failed is asked again. */
static tel_code find_schema(struct tel_record_decoder *d, enum tel_record_frame frame, uint64_t id,
                            struct known_schema **ret, struct tel_error *err)
{
    for (size_t i = 0; d && i < d->known.len; i++) {
        if (d->known.items[i]->frame == frame && d->known.items[i]->id == id) {
            *ret = d->known.items[i];
            return TEL_OK;
        }
    }
    const char *kind = frame == TEL_RECORD_CONFLUENT ? "id" : "fingerprint";
    if (!d || !d->lookup)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "byte 0: the schema with %s %llx is not known",
                             kind, (unsigned long long)id);
    struct tel_span json;
    tel_code rc = d->lookup(d->ctx, frame, id, &json, err);
    if (rc != TEL_OK)
        return tel_error_wrap(err, rc, "byte 0: the schema with %s %llx", kind,
                              (unsigned long long)id);
    struct known_schema *k = TEL_NEW(struct known_schema);
    uint64_t fingerprint;
    k->frame = frame;
    k->id = id;
    rc = tel_record_schema_fingerprint(json, &fingerprint, &k->why);
    if (rc == TEL_OK && frame == TEL_RECORD_SINGLE_OBJECT && fingerprint != id)
        rc = tel_error_set(&k->why, TEL_ERR_UNSUPPORTED, "the schema that was found has fingerprint %llx",
                           (unsigned long long)fingerprint);
    k->ours = rc == TEL_OK && fingerprint == TEL_RECORD_FINGERPRINT;
    if (rc == TEL_OK && !k->ours)
        rc = tel_record_resolver_new(json, &k->resolver, &k->why);
    TEL_CHECK(rc == TEL_OK || k->why.code == rc);
    tel_vec_push(&d->known, k);
    *ret = k;
    return TEL_OK;
}

tel_code tel_record_decode(struct tel_record_decoder *d, struct tel_span message,
                           struct tel_arena *arena, struct tel_batch *ret, struct tel_error *err)
{
    enum tel_record_frame frame = TEL_RECORD_SINGLE_OBJECT;
    uint64_t id = 0;
    size_t skip = 0;
    tel_code rc = read_frame(message, &frame, &id, &skip, err);
    if (rc != TEL_OK)
        return rc;
    if (TEL_LIKELY(frame == TEL_RECORD_SINGLE_OBJECT && id == TEL_RECORD_FINGERPRINT))
        return decode_fast(message, skip, arena, ret, err);
    struct known_schema *schema = NULL;
    rc = find_schema(d, frame, id, &schema, err);
    if (rc != TEL_OK)
        return rc;
    if (schema->ours)
        return decode_fast(message, skip, arena, ret, err);
    if (!schema->resolver)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "byte 0: the schema with %s %llx: %s",
                             frame == TEL_RECORD_CONFLUENT ? "id" : "fingerprint",
                             (unsigned long long)id, schema->why.text);
    return tel_record_resolver_decode(schema->resolver, message, skip, arena, ret, err);
}

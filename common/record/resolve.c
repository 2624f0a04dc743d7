/*
 * The slow path: any writer schema into our batch, through avro-c's resolution.
 *
 *     message ──► skim: walk it by the writer's schema, bounds and caps, allocating nothing
 *             ──► avro-c: read it by the writer's schema into a value of the reader's schema
 *             ──► copy the value into the arena, check it as the fast path does
 *
 * avro-c knows no defaults and trusts counts. Hence the skim, and hence a reader schema made to
 * measure for each writer: our schema without the optional fields that the writer lacks (they take
 * their defaults here), and with text in whichever of string, bytes or a union of them the writer
 * chose (Avro lets string and bytes be read as each other; avro-c does not). Whatever does not resolve
 * is found here: avro-c 1.11 may crash on it (avro_resolved_writer_new of a record in which a field
 * does not fit).
 *
 * avro-c keeps its last error in a global, so one mutex covers every call into it.
 */
#include "common/record/resolve.h"

#include <avro.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/record/check.h"
#include "common/record/codec.h"
#include "common/record/decode.h"

enum {
    DEPTH_MAX = 64,
    ITEMS_MAX = TEL_BATCH_EVENTS_MAX + TEL_BATCH_FIELDS_MAX + TEL_RESOURCE_LABELS_MAX
};

static pthread_mutex_t avro_lock = PTHREAD_MUTEX_INITIALIZER;

struct tel_record_resolver {
    avro_schema_t writer;
    avro_value_iface_t *reader_class, *resolved_class;
};

static avro_schema_t through_links(avro_schema_t s)
{
    while (is_avro_link(s))
        s = avro_schema_link_target(s);
    return s;
}

/* ---- the skim ------------------------------------------------------------------------------ */

struct skim {
    struct tel_avro_cursor c;
    uint64_t room; /* items that arrays and maps may still hold */
};

static bool skim_value(struct skim *k, avro_schema_t s, int depth);

static bool skim_fixed(struct skim *k, uint64_t size)
{
    if (size > tel_avro_left(&k->c))
        return tel_avro_fail(&k->c, TEL_ERR_TRUNCATED, "bytes end before their length");
    k->c.pos += size;
    return true;
}

static bool skim_index(struct skim *k, uint64_t below, int64_t *ret)
{
    const char *at = k->c.pos;
    if (!tel_avro_long(&k->c, ret))
        return false;
    return (*ret >= 0 && (uint64_t)*ret < below) ||
           tel_avro_fail_at(&k->c, at, TEL_ERR_CORRUPT, "a union or enum has no such branch");
}

static bool skim_int(struct skim *k)
{
    const char *at = k->c.pos;
    int64_t v = 0;
    if (!tel_avro_long(&k->c, &v))
        return false;
    return (v >= INT32_MIN && v <= INT32_MAX) ||
           tel_avro_fail_at(&k->c, at, TEL_ERR_CORRUPT, "an int has more than 32 bits");
}

static bool skim_blocks(struct skim *k, avro_schema_t items, bool keys, int depth)
{
    uint32_t count = 0;
    const char *block_end = NULL;
    for (;;) {
        /* An item of no bytes counts as one: no sane schema has them, and they would be free. */
        if (!tel_avro_block(&k->c, k->room, 1, &count, &block_end))
            return false;
        if (count == 0)
            return true;
        k->room -= count;
        for (uint32_t i = 0; i < count; i++) {
            struct tel_span key = {0};
            if (keys && !tel_avro_bytes(&k->c, TEL_NAME_BYTES_MAX, &key))
                return false;
            if (key.len > 0 && memchr(key.ptr, 0, key.len)) /* avro-c would cut it there */
                return tel_avro_fail(&k->c, TEL_ERR_INVALID, "a name holds a NUL byte");
            if (!skim_value(k, items, depth))
                return false;
        }
        if (!tel_avro_block_end(&k->c, block_end))
            return false;
    }
}

static bool skim_record(struct skim *k, avro_schema_t s, int depth)
{
    size_t n = avro_schema_record_size(s);
    for (size_t i = 0; i < n; i++)
        if (!skim_value(k, avro_schema_record_field_get_by_index(s, (int)i), depth))
            return false;
    return true;
}

static bool skim_value(struct skim *k, avro_schema_t s, int depth)
{
    struct tel_span bytes;
    int64_t n = 0;
    if (depth > DEPTH_MAX)
        return tel_avro_fail(&k->c, TEL_ERR_LIMIT, "values are nested too deep");
    s = through_links(s);
    switch (avro_typeof(s)) {
    case AVRO_STRING:
    case AVRO_BYTES: return tel_avro_bytes(&k->c, TEL_BATCH_BYTES_MAX, &bytes);
    case AVRO_INT32: return skim_int(k);
    case AVRO_INT64: return tel_avro_long(&k->c, &n);
    case AVRO_FLOAT: return skim_fixed(k, 4);
    case AVRO_DOUBLE: return skim_fixed(k, 8);
    case AVRO_BOOLEAN: return skim_fixed(k, 1);
    case AVRO_NULL: return true;
    case AVRO_FIXED: return skim_fixed(k, (uint64_t)avro_schema_fixed_size(s));
    case AVRO_ENUM: return skim_index(k, (uint64_t)avro_schema_enum_number_of_symbols(s), &n);
    case AVRO_UNION:
        return skim_index(k, avro_schema_union_size(s), &n) &&
               skim_value(k, avro_schema_union_branch(s, (int)n), depth + 1);
    case AVRO_RECORD: return skim_record(k, s, depth + 1);
    case AVRO_MAP: return skim_blocks(k, avro_schema_map_values(s), true, depth + 1);
    case AVRO_ARRAY: return skim_blocks(k, avro_schema_array_items(s), false, depth + 1);
    case AVRO_LINK: break;
    }
    return tel_avro_fail(&k->c, TEL_ERR_UNSUPPORTED, "a type that is not known");
}

/* ---- the reader's schema, to the writer's measure ------------------------------------------- */

/* The writer's type if it is text (string, bytes, or a union with them), else NULL. A new reference. */
static avro_schema_t text_like(avro_schema_t w, bool in_union)
{
    w = through_links(w);
    if (is_avro_string(w) || is_avro_bytes(w) || (in_union && is_avro_null(w)))
        return avro_schema_incref(w);
    if (!is_avro_union(w) || in_union)
        return NULL;
    avro_schema_t u = avro_schema_union();
    for (size_t i = 0; i < avro_schema_union_size(w); i++) {
        avro_schema_t branch = text_like(avro_schema_union_branch(w, (int)i), true);
        if (branch) {
            avro_schema_union_append(u, branch);
            avro_schema_decref(branch);
        }
    }
    if (avro_schema_union_size(u) == 0) {
        avro_schema_decref(u);
        return NULL;
    }
    return u;
}

static avro_schema_t text_map_like(avro_schema_t w)
{
    w = through_links(w);
    avro_schema_t values = is_avro_map(w) ? text_like(avro_schema_map_values(w), false) : NULL;
    if (!values)
        return NULL;
    avro_schema_t map = avro_schema_map(values);
    avro_schema_decref(values);
    return map;
}

/* Can the writer's type, or a branch of its union, be read as an int (or long)? */
static bool number_like(avro_schema_t w, bool as_long, bool in_union)
{
    w = through_links(w);
    if (is_avro_int32(w) || (as_long && is_avro_int64(w)))
        return true;
    for (size_t i = 0; !in_union && is_avro_union(w) && i < avro_schema_union_size(w); i++)
        if (number_like(avro_schema_union_branch(w, (int)i), as_long, true))
            return true;
    return false;
}

enum want { WANT_LONG, WANT_INT, WANT_TEXT, WANT_TEXT_MAP, WANT_EVENTS };

struct wanted_field {
    const char *name;
    enum want want;
    bool required; /* others have a default in our schema */
};

static const struct wanted_field batch_fields[] = {
    {"tenant", WANT_TEXT, false},
    {"resource", WANT_TEXT_MAP, false},
    {"source", WANT_TEXT, true},
    {"events", WANT_EVENTS, true},
};

static const struct wanted_field event_fields[] = {
    {"timestamp", WANT_LONG, true},   {"position", WANT_LONG, true},
    {"severity", WANT_INT, false},    {"body", WANT_TEXT, true},
    {"attributes", WANT_TEXT_MAP, false}, {"trace_id", WANT_TEXT, false},
    {"span_id", WANT_TEXT, false},
};

static tel_code make_reader(avro_schema_t w, const char *name, const struct wanted_field *fields,
                            size_t count, avro_schema_t *ret, struct tel_error *err);

static tel_code make_field(avro_schema_t w, const struct wanted_field *f, avro_schema_t *ret,
                           struct tel_error *err)
{
    avro_schema_t type = NULL, items = NULL;
    w = through_links(w);
    switch (f->want) {
    case WANT_LONG: type = number_like(w, true, false) ? avro_schema_long() : NULL; break;
    case WANT_INT: type = number_like(w, false, false) ? avro_schema_int() : NULL; break;
    case WANT_TEXT: type = text_like(w, false); break;
    case WANT_TEXT_MAP: type = text_map_like(w); break;
    case WANT_EVENTS: {
        if (!is_avro_array(w))
            break;
        tel_code rc = make_reader(through_links(avro_schema_array_items(w)), "LogEvent",
                                  event_fields, TEL_ARRAY_LEN(event_fields), &items, err);
        if (rc != TEL_OK)
            return rc;
        type = avro_schema_array(items);
        avro_schema_decref(items);
        break;
    }
    }
    if (!type)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "the writer's field %s is a %s", f->name,
                             avro_schema_type_name(w));
    *ret = type;
    return TEL_OK;
}

static tel_code make_reader(avro_schema_t w, const char *name, const struct wanted_field *fields,
                            size_t count, avro_schema_t *ret, struct tel_error *err)
{
    if (!is_avro_record(w))
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "the writer's %s is no record", name);
    if (strcmp(avro_schema_name(w), name) != 0)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "the writer's %s has the name %s", name,
                             avro_schema_name(w));
    avro_schema_t r = avro_schema_record(name, "io.telescope");
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < count && rc == TEL_OK; i++) {
        avro_schema_t type = NULL, has = NULL;
        if (avro_schema_record_field_get_index(w, fields[i].name) >= 0)
            has = avro_schema_record_field_get(w, fields[i].name);
        if (!has) {
            if (fields[i].required)
                rc = tel_error_set(err, TEL_ERR_UNSUPPORTED, "the writer's %s lacks the field %s",
                                   name, fields[i].name);
            continue;
        }
        rc = make_field(has, &fields[i], &type, err);
        if (rc == TEL_OK) {
            avro_schema_record_field_append(r, fields[i].name, type);
            avro_schema_decref(type);
        }
    }
    if (rc != TEL_OK) {
        avro_schema_decref(r);
        return rc;
    }
    *ret = r;
    return TEL_OK;
}

static tel_code parse_schema(struct tel_span json, avro_schema_t *ret, struct tel_error *err)
{
    if (json.len > TEL_SCHEMA_BYTES_MAX)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "the writer's schema is too long");
    if (avro_schema_from_json_length(json.ptr, json.len, ret) != 0)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "the writer's schema: %s", avro_strerror());
    return TEL_OK;
}

static tel_code resolver_new(struct tel_span json, struct tel_record_resolver *r,
                             struct tel_error *err)
{
    tel_code rc = parse_schema(json, &r->writer, err);
    if (rc != TEL_OK)
        return rc;
    avro_schema_t reader;
    rc = make_reader(through_links(r->writer), "LogBatch", batch_fields, TEL_ARRAY_LEN(batch_fields),
                     &reader, err);
    if (rc != TEL_OK)
        return rc;
    r->reader_class = avro_generic_class_from_schema(reader);
    r->resolved_class = avro_resolved_writer_new(r->writer, reader);
    avro_schema_decref(reader);
    if (!r->reader_class || !r->resolved_class)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "the writer's schema does not resolve to ours: %s",
                             avro_strerror());
    return TEL_OK;
}

tel_code tel_record_resolver_new(struct tel_span json, struct tel_record_resolver **ret,
                                 struct tel_error *err)
{
    struct tel_record_resolver *r = TEL_NEW(struct tel_record_resolver);
    pthread_mutex_lock(&avro_lock);
    tel_code rc = resolver_new(json, r, err);
    pthread_mutex_unlock(&avro_lock);
    if (rc != TEL_OK) {
        tel_record_resolver_free(r);
        return rc;
    }
    *ret = r;
    return TEL_OK;
}

void tel_record_resolver_free(struct tel_record_resolver *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&avro_lock);
    if (r->resolved_class)
        avro_value_iface_decref(r->resolved_class);
    if (r->reader_class)
        avro_value_iface_decref(r->reader_class);
    if (r->writer)
        avro_schema_decref(r->writer);
    pthread_mutex_unlock(&avro_lock);
    free(r);
}

/* ---- from avro-c's value to the batch ------------------------------------------------------- */

struct copy {
    struct tel_arena *arena;
    struct tel_record_names names;
    uint32_t fields;
    struct tel_record_verdict bad;
};

static bool refuse(struct copy *k, tel_code code, const char *what)
{
    if (k->bad.code == TEL_OK)
        k->bad = tel_record_bad(code, what);
    return false;
}

/* False, and nothing refused, when the field is not in the reader's schema. */
static bool get_field(avro_value_t *record, const char *name, avro_value_t *ret)
{
    return avro_value_get_by_name(record, name, ret, NULL) == 0;
}

/* Null gives the empty span with a null pointer. */
static bool copy_text(struct copy *k, avro_value_t *v, struct tel_span *ret)
{
    avro_value_t branch = *v;
    const void *bytes = NULL;
    const char *text = NULL;
    size_t size = 0;
    if (avro_value_get_type(v) == AVRO_UNION && avro_value_get_current_branch(v, &branch) != 0)
        return refuse(k, TEL_ERR_CORRUPT, "a union without a branch");
    switch ((int)avro_value_get_type(&branch)) {
    case AVRO_NULL: *ret = tel_span_make(NULL, 0); return true;
    case AVRO_STRING:
        if (avro_value_get_string(&branch, &text, &size) != 0 || size == 0)
            return refuse(k, TEL_ERR_CORRUPT, "a string without its bytes");
        *ret = tel_arena_copy(k->arena, tel_span_make(text, size - 1)); /* less the NUL */
        return true;
    case AVRO_BYTES:
        if (avro_value_get_bytes(&branch, &bytes, &size) != 0)
            return refuse(k, TEL_ERR_CORRUPT, "bytes are not there");
        *ret = tel_arena_copy(k->arena, tel_span_make(bytes, size));
        return true;
    default: return refuse(k, TEL_ERR_CORRUPT, "text of another type");
    }
}

static bool copy_map(struct copy *k, avro_value_t *map, uint32_t max, struct tel_field **ret,
                     uint32_t *ret_count)
{
    size_t n = 0;
    if (avro_value_get_size(map, &n) != 0 || n > max)
        return refuse(k, TEL_ERR_LIMIT, "more items than the limit");
    struct tel_field *fields = TEL_ARENA_ARRAY(k->arena, struct tel_field, n);
    for (size_t i = 0; i < n; i++) {
        avro_value_t value;
        const char *name;
        if (avro_value_get_by_index(map, i, &value, &name) != 0)
            return refuse(k, TEL_ERR_CORRUPT, "a map without its entry");
        fields[i].name = tel_arena_copy(k->arena, tel_span_cstr(name));
        if (!copy_text(k, &value, &fields[i].value))
            return false;
    }
    *ret = fields;
    *ret_count = (uint32_t)n;
    return true;
}

static bool copy_event(struct copy *k, avro_value_t *record, const uint64_t *previous,
                       struct tel_event *e)
{
    avro_value_t v;
    int64_t position = 0;
    int32_t severity = 0;
    struct tel_field *attributes = NULL;
    if (!get_field(record, "timestamp", &v) || avro_value_get_long(&v, &e->timestamp_ns) != 0 ||
        !get_field(record, "position", &v) || avro_value_get_long(&v, &position) != 0 ||
        (get_field(record, "severity", &v) && avro_value_get_int(&v, &severity) != 0) ||
        !get_field(record, "body", &v))
        return refuse(k, TEL_ERR_CORRUPT, "an event lacks a field");
    if (!copy_text(k, &v, &e->body))
        return false;
    if (!e->body.ptr)
        return refuse(k, TEL_ERR_INVALID, "a body is null");
    uint32_t room = TEL_MIN(TEL_ATTRIBUTES_MAX, TEL_BATCH_FIELDS_MAX - k->fields);
    if (get_field(record, "attributes", &v) &&
        !copy_map(k, &v, room, &attributes, &e->attribute_count))
        return false;
    if (get_field(record, "trace_id", &v) && !copy_text(k, &v, &e->trace_id))
        return false;
    if (get_field(record, "span_id", &v) && !copy_text(k, &v, &e->span_id))
        return false;
    k->fields += e->attribute_count;
    e->attributes = attributes;
    e->position = (uint64_t)position;
    e->severity = severity < 0 ? UINT32_MAX : (uint32_t)severity;
    k->bad = tel_record_check_event(e, previous, &k->names);
    return k->bad.code == TEL_OK;
}

static bool copy_batch(struct copy *k, avro_value_t *record, struct tel_batch *b)
{
    avro_value_t v, item;
    struct tel_field *labels = NULL;
    size_t n = 0;
    b->tenant = TEL_SPAN("default");
    if (get_field(record, "tenant", &v) && !copy_text(k, &v, &b->tenant))
        return false;
    if (get_field(record, "resource", &v) &&
        !copy_map(k, &v, TEL_RESOURCE_LABELS_MAX, &labels, &b->resource_count))
        return false;
    if (!get_field(record, "source", &v) || !copy_text(k, &v, &b->source))
        return refuse(k, TEL_ERR_CORRUPT, "the batch lacks its source");
    b->resource = labels;
    k->bad = tel_record_check_head(b->tenant, b->source, labels, b->resource_count);
    if (k->bad.code != TEL_OK)
        return false;
    if (!get_field(record, "events", &v) || avro_value_get_size(&v, &n) != 0 ||
        n > TEL_BATCH_EVENTS_MAX)
        return refuse(k, TEL_ERR_LIMIT, "more items than the limit");
    struct tel_event *events = TEL_ARENA_ARRAY(k->arena, struct tel_event, n);
    for (size_t i = 0; i < n; i++) {
        if (avro_value_get_by_index(&v, i, &item, NULL) != 0)
            return refuse(k, TEL_ERR_CORRUPT, "an array without its item");
        if (!copy_event(k, &item, i ? &events[i - 1].position : NULL, &events[i]))
            return false;
    }
    b->events = events;
    b->event_count = (uint32_t)n;
    return true;
}

static tel_code read_resolved(struct tel_record_resolver *r, struct tel_span datum,
                              struct tel_arena *arena, struct tel_batch *ret, struct tel_error *err)
{
    avro_value_t value = {0}, resolved = {0};
    avro_reader_t reader = avro_reader_memory(datum.ptr, (int64_t)datum.len);
    struct copy k = {.arena = arena, .names = {.arena = arena}};
    struct tel_batch batch = {0};
    tel_code rc = TEL_OK;
    TEL_CHECK(reader && avro_generic_value_new(r->reader_class, &value) == 0 &&
              avro_resolved_writer_new_value(r->resolved_class, &resolved) == 0);
    avro_resolved_writer_set_dest(&resolved, &value);
    if (avro_value_read(reader, &resolved) != 0)
        rc = tel_error_set(err, TEL_ERR_CORRUPT, "does not resolve to our schema: %s",
                           avro_strerror());
    else if (!copy_batch(&k, &value, &batch))
        rc = tel_error_set(err, k.bad.code, "%s (after schema resolution)", k.bad.what);
    else
        *ret = batch;
    avro_value_decref(&resolved);
    avro_value_decref(&value);
    avro_reader_free(reader);
    return rc;
}

tel_code tel_record_resolver_decode(struct tel_record_resolver *r, struct tel_span message,
                                    size_t skip, struct tel_arena *arena, struct tel_batch *ret,
                                    struct tel_error *err)
{
    struct skim k = {.c = {.start = message.ptr,
                           .pos = message.ptr + skip,
                           .end = message.ptr + message.len},
                     .room = ITEMS_MAX};
    pthread_mutex_lock(&avro_lock);
    tel_code rc;
    if (!skim_value(&k, r->writer, 0) ||
        (k.c.pos != k.c.end &&
         !tel_avro_fail(&k.c, TEL_ERR_CORRUPT, "bytes are left over behind the batch")))
        rc = tel_error_set(err, k.c.code, "byte %zu of %zu: %s", k.c.at, message.len, k.c.what);
    else
        rc = read_resolved(r, tel_span_slice(message, skip, message.len), arena, ret, err);
    pthread_mutex_unlock(&avro_lock);
    return rc;
}

/* ---- fingerprints (Avro 1.11, "Parsing Canonical Form", "Schema Fingerprints") ---------------- */

struct canon {
    struct tel_buf out;
    TEL_VEC(avro_schema_t) named; /* written in full already */
};

static void canon_name(struct canon *k, avro_schema_t s)
{
    const char *space = avro_schema_namespace(s);
    if (space && *space)
        tel_buf_printf(&k->out, "\"%s.%s\"", space, avro_schema_name(s));
    else
        tel_buf_printf(&k->out, "\"%s\"", avro_schema_name(s));
}

static void canon_type(struct canon *k, avro_schema_t s);

static void canon_named(struct canon *k, avro_schema_t s)
{
    for (size_t i = 0; i < k->named.len; i++) {
        if (k->named.items[i] == s) {
            canon_name(k, s);
            return;
        }
    }
    tel_vec_push(&k->named, s);
    TEL_BUF_ADD_LIT(&k->out, "{\"name\":");
    canon_name(k, s);
    tel_buf_printf(&k->out, ",\"type\":\"%s\"", is_avro_record(s) ? "record" : is_avro_enum(s) ? "enum" : "fixed");
    if (is_avro_record(s)) {
        TEL_BUF_ADD_LIT(&k->out, ",\"fields\":[");
        for (size_t i = 0; i < avro_schema_record_size(s); i++) {
            tel_buf_printf(&k->out, "%s{\"name\":\"%s\",\"type\":", i ? "," : "",
                           avro_schema_record_field_name(s, (int)i));
            canon_type(k, avro_schema_record_field_get_by_index(s, (int)i));
            tel_buf_add_char(&k->out, '}');
        }
        tel_buf_add_char(&k->out, ']');
    } else if (is_avro_enum(s)) {
        TEL_BUF_ADD_LIT(&k->out, ",\"symbols\":[");
        for (int i = 0; i < avro_schema_enum_number_of_symbols(s); i++)
            tel_buf_printf(&k->out, "%s\"%s\"", i ? "," : "", avro_schema_enum_get(s, i));
        tel_buf_add_char(&k->out, ']');
    } else {
        tel_buf_printf(&k->out, ",\"size\":%lld", (long long)avro_schema_fixed_size(s));
    }
    tel_buf_add_char(&k->out, '}');
}

static void canon_type(struct canon *k, avro_schema_t s)
{
    s = through_links(s);
    if (is_avro_record(s) || is_avro_enum(s) || is_avro_fixed(s)) {
        canon_named(k, s);
    } else if (is_avro_array(s)) {
        TEL_BUF_ADD_LIT(&k->out, "{\"type\":\"array\",\"items\":");
        canon_type(k, avro_schema_array_items(s));
        tel_buf_add_char(&k->out, '}');
    } else if (is_avro_map(s)) {
        TEL_BUF_ADD_LIT(&k->out, "{\"type\":\"map\",\"values\":");
        canon_type(k, avro_schema_map_values(s));
        tel_buf_add_char(&k->out, '}');
    } else if (is_avro_union(s)) {
        for (size_t i = 0; i < avro_schema_union_size(s); i++) {
            tel_buf_add_char(&k->out, i ? ',' : '[');
            canon_type(k, avro_schema_union_branch(s, (int)i));
        }
        tel_buf_add_char(&k->out, ']');
    } else {
        tel_buf_printf(&k->out, "\"%s\"", avro_schema_type_name(s));
    }
}

/* CRC-64-AVRO: Rabin's fingerprint; the empty string's is the polynomial itself. */
static uint64_t crc64_avro(struct tel_span s)
{
    const uint64_t empty = UINT64_C(0xc15d213aa4d7a795);
    uint64_t crc = empty;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= (unsigned char)s.ptr[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (empty & (0 - (crc & 1)));
    }
    return crc;
}

tel_code tel_record_schema_fingerprint(struct tel_span json, uint64_t *ret, struct tel_error *err)
{
    struct canon k = {0};
    avro_schema_t s;
    pthread_mutex_lock(&avro_lock);
    tel_code rc = parse_schema(json, &s, err);
    if (rc == TEL_OK) {
        canon_type(&k, s);
        *ret = crc64_avro(tel_buf_span(&k.out));
        avro_schema_decref(s);
    }
    pthread_mutex_unlock(&avro_lock);
    tel_buf_free(&k.out);
    tel_vec_free(&k.named);
    return rc;
}

/* Reading a segment's sections. Whatever the disk gives is checked against the entry's checksums, and
 * an error names day, segment and section. */
#include <inttypes.h>
#include <stdlib.h>

#define TEL_LOG_COMPONENT "store"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "shard/store/store_private.h"

struct store_handle {
    struct store_segment *segment;
    struct entry entry; /* the table of sections */
    struct tel_span *values; /* of sections that were read, in the order of the table */
    uint64_t bytes;
};

/* A read failed: remember it, and say it once in the log. */
static tel_code damaged(struct store_segment *segment, tel_code code, const struct tel_error *err)
{
    if (code != TEL_ERR_CORRUPT || atomic_exchange(&segment->damaged, true))
        return code;
    struct store *store = segment->day->store;
    tel_mutex_lock(&store->lock);
    store->stats.damaged_segments++;
    tel_mutex_unlock(&store->lock);
    tel_log_error("a segment is damaged", tel_kv_str("error", err ? err->text : ""));
    return code;
}

tel_code store_read_value(struct store_segment *segment, uint32_t slot, struct tel_span *ret,
                          struct tel_error *err)
{
    struct ldb *db;
    tel_code rc = store_day_pin(segment->place, &db, err);
    if (rc != TEL_OK)
        return rc;
    struct entry_key key = entry_key_make(segment->id, slot);
    rc = ldb_get(db, entry_key_span(&key), ret, err);
    store_day_unpin(segment->place);
    if (rc == TEL_ERR_NOTFOUND) /* the catalogue says that it is there */
        rc = tel_error_set(err, TEL_ERR_CORRUPT, "it is missing");
    return rc;
}

tel_code store_read_entry(struct store_segment *segment, struct entry *ret, struct tel_error *err)
{
    struct tel_error local;
    if (!err)
        err = &local;
    char name[FOLDER_NAME_MAX + 32];
    store_segment_name(segment, name, sizeof(name));
    struct tel_span value;
    tel_code rc = store_read_value(segment, ENTRY_SLOT, &value, err);
    if (rc != TEL_OK) {
        tel_error_wrap(err, rc, "%s, its entry", name);
        return damaged(segment, rc, err);
    }
    rc = entry_decode(value, segment->place->name.day, segment->id, ret, err);
    ldb_value_free(value);
    if (rc != TEL_OK) {
        tel_error_wrap(err, rc, "%s", name);
        return damaged(segment, rc, err);
    }
    ret->tenant = segment->tenant;
    return TEL_OK;
}

tel_code store_handle_open(struct store_segment *segment, struct store_handle **ret,
                           struct tel_error *err)
{
    struct entry entry;
    tel_code rc = store_read_entry(segment, &entry, err);
    if (rc != TEL_OK)
        return rc;
    struct store_handle *h = TEL_NEW(struct store_handle);
    h->segment = store_segment_ref(segment);
    h->entry = entry;
    h->values = tel_calloc(entry.section_count + 1, sizeof(*h->values));
    h->bytes = sizeof(*h) + entry.section_count * (sizeof(*entry.sections) + sizeof(*h->values));
    *ret = h;
    return TEL_OK;
}

void store_handle_drop(struct store_handle *handle, uint32_t from)
{
    for (size_t i = 0; i < handle->entry.section_count; i++) {
        struct tel_span *value = &handle->values[i];
        if (!value->ptr || handle->entry.sections[i].section < from)
            continue;
        handle->bytes -= value->len;
        ldb_value_free(*value);
        *value = (struct tel_span){0};
    }
}

void store_handle_close(struct store_handle *handle)
{
    if (!handle)
        return;
    store_handle_drop(handle, 0);
    free(handle->values);
    entry_done(&handle->entry);
    store_segment_unref(handle->segment);
    free(handle);
}

static const struct entry_section *find_section(const struct entry *e, uint32_t section)
{
    size_t lo = 0, hi = e->section_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (e->sections[mid].section < section)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < e->section_count && e->sections[lo].section == section ? &e->sections[lo] : NULL;
}

tel_code store_read_section(struct store_segment *segment, const struct entry_section *s,
                            struct tel_span *ret, struct tel_error *err)
{
    struct tel_span value = {0};
    tel_code rc = store_read_value(segment, s->section + 1, &value, err);
    if (rc == TEL_OK && value.len != s->bytes)
        rc = tel_error_set(err, TEL_ERR_CORRUPT, "%zu bytes, not %" PRIu64, value.len, s->bytes);
    if (rc == TEL_OK && entry_checksum(segment->place->name.day, segment->id, s->section + 1,
                                       value) != s->crc)
        rc = tel_error_set(err, TEL_ERR_CORRUPT, "checksum mismatch");
    if (rc == TEL_OK) {
        *ret = value;
        return TEL_OK;
    }
    ldb_value_free(value);
    char name[FOLDER_NAME_MAX + 32];
    store_segment_name(segment, name, sizeof(name));
    tel_error_wrap(err, rc, "%s section %" PRIu32, name, s->section);
    return damaged(segment, rc, err);
}

static tel_code handle_read(void *ctx, uint32_t section, struct tel_span *ret,
                            struct tel_error *err)
{
    struct store_handle *h = ctx;
    struct tel_error local;
    const struct entry_section *s = find_section(&h->entry, section);
    if (!s)
        return tel_error_set(err, TEL_ERR_NOTFOUND, "no section %" PRIu32, section);
    struct tel_span value, *kept = &h->values[s - h->entry.sections];
    if (kept->ptr) {
        *ret = *kept;
        return TEL_OK;
    }
    tel_code rc = store_read_section(h->segment, s, &value, err ? err : &local);
    if (rc != TEL_OK)
        return rc;
    *kept = value;
    h->bytes += value.len;
    *ret = value;
    return TEL_OK;
}

struct segment_io store_handle_io(struct store_handle *handle)
{
    return (struct segment_io){handle, handle_read};
}

uint64_t store_handle_bytes(const struct store_handle *handle)
{
    return handle->bytes;
}

struct store_segment *store_handle_segment(const struct store_handle *handle)
{
    return handle->segment;
}

tel_code store_segment_verify(struct store_segment *segment, struct tel_error *err)
{
    struct tel_error local;
    struct store_handle *h;
    tel_code rc = store_handle_open(segment, &h, err);
    if (rc != TEL_OK)
        return rc;
    for (uint32_t i = 0; i < h->entry.section_count && rc == TEL_OK; i++) {
        struct tel_span value;
        rc = store_read_section(segment, &h->entry.sections[i], &value, err ? err : &local);
        if (rc == TEL_OK)
            ldb_value_free(value);
    }
    store_handle_close(h);
    return rc;
}

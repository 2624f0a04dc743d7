#include "tests/unit/shard/store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/sys/fs.h"

void fixture_begin(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/tmp/tel-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->shared = ldb_shared_new(1 << 20);
}

void fixture_end(struct fixture *f)
{
    struct tel_error err;
    fixture_close(f);
    ldb_shared_free(f->shared);
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), f->dir, &err), TEL_OK);
}

void fixture_open(struct fixture *f)
{
    struct tel_error err = {0};
    struct store_options options = {
        .dir = f->dir,
        .partition = 3,
        .shared = f->shared,
        .open_days_max = 2,
        .faults = f->faults.step ? &f->faults : NULL,
    };
    if (store_open(&options, &f->store, &err) != TEL_OK)
        fail_msg("store_open: %s", err.text);
}

void fixture_close(struct fixture *f)
{
    store_close(f->store);
    f->store = NULL;
}

static void fill(struct tel_buf *buf, int64_t tag, uint32_t section)
{
    struct tel_rand r;
    tel_rand_init(&r, (uint64_t)tag * 31 + section);
    size_t len = tel_rand_below(&r, section == 2 ? 3000 : 200);
    tel_buf_clear(buf);
    for (size_t i = 0; i < len; i++)
        tel_buf_add_char(buf, (char)tel_rand_u64(&r));
}

void fixture_add(struct store_writer *writer, const char *tenant, int64_t day, int64_t tag)
{
    struct tel_buf bufs[FIXTURE_SECTIONS] = {{0}};
    struct segment_section sections[FIXTURE_SECTIONS];
    struct segment_image image = {.sections = sections, .section_count = FIXTURE_SECTIONS};
    for (uint32_t i = 0; i < FIXTURE_SECTIONS; i++) {
        fill(&bufs[i], tag, i);
        sections[i] = (struct segment_section){i * 2, tel_buf_span(&bufs[i])};
    }
    image.rows = 10;
    image.raw_bytes = 1000;
    image.min_time_ns = day * TEL_NS_PER_DAY + tag;
    image.max_time_ns = day * TEL_NS_PER_DAY + tag + 10;
    struct tel_error err;
    tel_code rc = store_writer_add(writer, tel_span_cstr(tenant), &image, 1, tag, tag, &err);
    for (uint32_t i = 0; i < FIXTURE_SECTIONS; i++)
        tel_buf_free(&bufs[i]);
    assert_int_equal(rc, TEL_OK);
}

tel_code fixture_round(struct fixture *f, const char *tenant, int64_t day, int64_t tag,
                       int64_t upto)
{
    struct store_writer *writer;
    struct tel_error err;
    tel_code rc =
        store_writer_begin(f->store, day, (struct store_position){0, upto}, &writer, &err);
    if (rc != TEL_OK)
        return rc;
    fixture_add(writer, tenant, day, tag);
    return store_writer_commit(writer, &err);
}

/* A section is held once however often it is read, until it is dropped. */
static tel_code check_held(struct store_handle *handle)
{
    struct segment_io io = store_handle_io(handle);
    uint64_t bytes = store_handle_bytes(handle);
    struct tel_span first, again, other;
    struct tel_error err;
    tel_code rc = io.read(io.ctx, 0, &first, &err);
    if (rc == TEL_OK)
        rc = io.read(io.ctx, 2, &other, &err);
    assert_int_equal(store_handle_bytes(handle), bytes);
    store_handle_drop(handle, 2);
    if (rc == TEL_OK)
        assert_true(store_handle_bytes(handle) < bytes);
    for (uint32_t i = 0; i < FIXTURE_SECTIONS && rc == TEL_OK; i++)
        rc = io.read(io.ctx, i * 2, &again, &err);
    assert_int_equal(store_handle_bytes(handle), bytes);
    if (rc == TEL_OK)
        rc = io.read(io.ctx, 0, &again, &err);
    if (rc == TEL_OK)
        assert_ptr_equal(again.ptr, first.ptr);
    return rc;
}

tel_code fixture_check(struct store_segment *segment)
{
    struct store_handle *handle;
    struct tel_error err;
    tel_code rc = store_handle_open(segment, &handle, &err);
    if (rc != TEL_OK)
        return rc;
    struct segment_io io = store_handle_io(handle);
    struct tel_buf want = {0};
    for (uint32_t i = 0; i < FIXTURE_SECTIONS && rc == TEL_OK; i++) {
        struct tel_span got;
        rc = io.read(io.ctx, i * 2, &got, &err);
        fill(&want, segment->first_offset, i);
        if (rc == TEL_OK)
            assert_true(tel_span_eq(got, tel_buf_span(&want)));
    }
    if (rc == TEL_OK)
        rc = check_held(handle);
    tel_buf_free(&want);
    store_handle_close(handle);
    return rc;
}

tel_code fixture_commit(struct fixture *f, int64_t offset)
{
    struct tel_error err;
    struct store_commit commit = {
        .resume = {.position = {0, offset}},
        .expire_before_ns = INT64_MIN,
    };
    return store_commit(f->store, &commit, &err);
}

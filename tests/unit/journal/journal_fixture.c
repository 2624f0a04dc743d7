#include "tests/unit/journal/journal_fixture.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/sys/fs.h"

char *dir_make(void)
{
    const char *tmp = getenv("TMPDIR");
    char path[512];
    snprintf(path, sizeof(path), "%s/journal-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(path));
    return tel_strdup(path);
}

void dir_remove(char *dir)
{
    struct tel_error err;
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), dir, &err), TEL_OK);
    free(dir);
}

const char *segment_path(const char *dir, int64_t base)
{
    static char path[600];
    snprintf(path, sizeof(path), "%s/%020lld.seg", dir, (long long)base);
    return path;
}

struct tel_journal *journal_open_ok(const struct tel_journal_options *o)
{
    struct tel_journal *j = NULL;
    struct tel_error err;
    tel_error_clear(&err);
    tel_code rc = tel_journal_open(o, &j, &err);
    if (rc != TEL_OK)
        print_message("open: %s\n", err.text);
    assert_int_equal(rc, TEL_OK);
    return j;
}

static void make_value(struct tel_buf *b, uint64_t number, size_t size)
{
    tel_buf_reserve(b, size);
    for (size_t i = 0; i < size; i++)
        b->ptr[i] = (char)(tel_hash_u64(number + i / 8) >> (8 * (i % 8)));
    b->len = size;
}

void append_number(struct tel_journal *j, uint64_t number, size_t size, tel_journal_ack_cb *cb,
                   void *ctx)
{
    char key[40];
    struct tel_buf value = {0};
    struct tel_error err;
    int n = snprintf(key, sizeof(key), "%llu", (unsigned long long)number);
    make_value(&value, number, size);
    tel_code rc;
    while ((rc = tel_journal_append(j, tel_span_make(key, (size_t)n), tel_buf_span(&value), cb, ctx,
                                    &err)) == TEL_ERR_AGAIN)
        sched_yield();
    tel_buf_free(&value);
    if (rc != TEL_OK)
        print_error("append of %llu: %s\n", (unsigned long long)number, err.text);
    assert_int_equal(rc, TEL_OK);
}

uint64_t check_record(const struct tel_journal_record *r)
{
    unsigned long long number = 0;
    struct tel_buf value = {0};
    assert_true(tel_span_to_u64(r->key, &number));
    make_value(&value, number, r->value.len);
    assert_true(tel_span_eq(tel_buf_span(&value), r->value));
    tel_buf_free(&value);
    return number;
}

void expect_numbers(struct tel_journal *j, int64_t from, int64_t to, int64_t shift)
{
    struct tel_journal_reader *r = tel_journal_reader_open(j, from);
    const struct tel_journal_record *records = NULL;
    size_t count = 0;
    int64_t next = 0;
    struct tel_error err;
    while (from < to) {
        tel_code rc = tel_journal_read(r, 10000, 100, &records, &count, &next, &err);
        if (rc != TEL_OK)
            print_message("read at %lld: %s\n", (long long)from, err.text);
        assert_int_equal(rc, TEL_OK);
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(records[i].offset, from);
            assert_int_equal(check_record(&records[i]), from + shift);
            from++;
        }
    }
    assert_int_equal(from, to);
    tel_journal_reader_close(r);
}

void count_ack(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    struct ack_count *c = ctx;
    assert_true((code == TEL_OK) == (err == NULL));
    c->last_code = code;
    if (code == TEL_OK) {
        assert_true(offset > atomic_load(&c->last_offset) || offset == 0);
        atomic_store(&c->last_offset, offset);
        atomic_fetch_add(&c->ok, 1);
    } else {
        atomic_fetch_add(&c->failed, 1);
    }
}

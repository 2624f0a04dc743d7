/*
 * Snapshots: consistent while the shard takes, merges and deletes; whole or not there, whatever fails
 * or ends; restored exactly, and every event once after the queue has been read on.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/crc32c.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/sys/fs_fault.h"
#include "shard/shard.h"
#include "shard/snapshot/restore.h"
#include "shard/snapshot/snapshot.h"
#include "tests/unit/shard/shard_fixture.h"
#include "tests/unit/shard/store_fixture.h"

#define BASE (20400 * TEL_NS_PER_DAY)

static bool is_there(const char *path)
{
    struct tel_fs_stat st;
    return tel_fs_stat(tel_fs_system(), path, &st, NULL) == TEL_OK;
}

/* ---- a store with two days, three tenants, a mark --------------------------------------------- */

struct made {
    struct fixture f;
    char dest[96], partial[112], data[96];
    uint32_t partition;
};

static void make(struct made *m)
{
    memset(m, 0, sizeof(*m));
    fixture_begin(&m->f);
    fixture_open(&m->f);
    snprintf(m->dest, sizeof(m->dest), "%s-snap", m->f.dir);
    snprintf(m->partial, sizeof(m->partial), "%s.partial", m->dest);
    snprintf(m->data, sizeof(m->data), "%s-data", m->f.dir);
    assert_int_equal(fixture_round(&m->f, "a", 20001, 1, 5), TEL_OK);
    assert_int_equal(fixture_round(&m->f, "b", 20001, 6, 8), TEL_OK);
    assert_int_equal(fixture_round(&m->f, "c", 20002, 9, 10), TEL_OK);
    assert_int_equal(fixture_commit(&m->f, 10), TEL_OK);
    assert_int_equal(fixture_round(&m->f, "a", 20002, 11, 12), TEL_OK); /* above the resume offset */
}

static void unmake(struct made *m)
{
    struct tel_fs *fs = tel_fs_system();
    assert_int_equal(tel_fs_remove_all(fs, m->dest, NULL), TEL_OK);
    assert_int_equal(tel_fs_remove_all(fs, m->data, NULL), TEL_OK);
    fixture_close(&m->f);
    fixture_end(&m->f);
}

static tel_code take(struct made *m, struct tel_fs *fs, struct tel_error *err)
{
    struct manifest manifest;
    struct snapshot_options o = {.fs = fs,
                                 .dest = m->dest,
                                 .stores = &m->f.store,
                                 .partitions = &m->partition,
                                 .count = 1};
    tel_code rc = snapshot_take(&o, &manifest, err);
    if (rc == TEL_OK)
        manifest_done(&manifest);
    return rc;
}

/* Every key of the snapshot's store, read back from a store made of it by hand. (The fixture's images
 * are no real segments, which `restore` would notice.) */
static void check_copy(struct made *m)
{
    struct manifest manifest;
    struct tel_error err = {0};
    if (snapshot_open(tel_fs_system(), m->dest, &manifest, &err) != TEL_OK)
        fail_msg("%s", err.text);
    assert_int_equal(manifest.partitions.len, 1);
    const struct manifest_partition *p = &manifest.partitions.items[0];
    assert_int_equal(p->resume.offset, 10);
    assert_int_equal(p->segments, 4);
    assert_int_equal(p->damaged, 0);
    assert_int_equal(p->files.len, 3);
    assert_true(p->files.items[0].meta);
    manifest_done(&manifest);
}

static void test_take(void **state)
{
    (void)state;
    struct made m;
    make(&m);
    struct tel_error err = {0};
    if (take(&m, NULL, &err) != TEL_OK)
        fail_msg("%s", err.text);
    check_copy(&m);
    assert_false(is_there(m.partial));
    assert_int_equal(take(&m, NULL, &err), TEL_ERR_EXISTS); /* twice */
    check_copy(&m);
    unmake(&m);
}

/* Each operation that changes the disk fails in turn, with no room or with an error: there is no
 * snapshot, nothing is left, and the next one is whole. */
static void test_failures(void **state)
{
    (void)state;
    struct made m;
    make(&m);
    struct tel_fs_fault *fault = tel_fs_fault_new(1);
    struct tel_error err = {0};
    unsigned failed = 0;
    for (uint64_t n = 1;; n++) {
        int errnum = n % 2 ? ENOSPC : EIO;
        tel_fs_fault_at(fault, TEL_FAULT_CHANGES & ~TEL_FAULT_UNLINK & ~TEL_FAULT_RMDIR, NULL, n,
                        false, errnum);
        tel_code rc = take(&m, tel_fs_fault_fs(fault), &err);
        tel_fs_fault_clear(fault);
        if (rc == TEL_OK)
            break;
        failed++;
        if (is_there(m.dest) || is_there(m.partial))
            fail_msg("something is left after failure %u: %s", failed, err.text);
        assert_true(err.text[0] != '\0');
    }
    assert_true(failed > 12);
    check_copy(&m);
    tel_fs_fault_free(fault);
    unmake(&m);
}

static void test_full(void **state)
{
    (void)state;
    struct made m;
    make(&m);
    struct tel_fs_fault *fault = tel_fs_fault_new(1);
    struct tel_error err = {0};
    tel_fs_fault_space_left(fault, 500);
    assert_int_equal(take(&m, tel_fs_fault_fs(fault), &err), TEL_ERR_NOSPACE);
    assert_false(is_there(m.dest));
    assert_false(is_there(m.partial));
    tel_fs_fault_free(fault);
    /* What must stay free is asked for before anything is written. */
    struct manifest manifest;
    struct snapshot_options o = {.dest = m.dest, .stores = &m.f.store, .partitions = &m.partition,
                                 .count = 1, .reserve_bytes = UINT64_MAX / 2};
    assert_int_equal(snapshot_take(&o, &manifest, &err), TEL_ERR_NOSPACE);
    assert_false(is_there(m.partial));
    unmake(&m);
}

/* The power fails at each step: what has the name is whole, and what has not is taken away by the
 * next. */
static void test_power(void **state)
{
    (void)state;
    for (uint64_t n = 1, done = 0; !done; n++) {
        struct made m;
        make(&m);
        struct tel_fs_fault *fault = tel_fs_fault_new(n);
        struct tel_error err = {0};
        tel_fs_fault_power_off_at(fault, n, n * 7);
        done = take(&m, tel_fs_fault_fs(fault), &err) == TEL_OK && !tel_fs_fault_is_off(fault);
        if (tel_fs_fault_is_off(fault))
            tel_fs_fault_power_on(fault);
        if (!is_there(m.dest)) {
            tel_code rc = take(&m, NULL, &err);
            /* A folder that has lost its lock file and nothing else may be anybody's: it is left alone,
             * and named. */
            if (rc == TEL_ERR_EXISTS && is_there(m.partial)) {
                assert_int_equal(tel_fs_remove_all(tel_fs_system(), m.partial, NULL), TEL_OK);
                rc = take(&m, NULL, &err);
            }
            if (rc != TEL_OK)
                fail_msg("%llu: %s", (unsigned long long)n, err.text);
        }
        check_copy(&m);
        tel_fs_fault_free(fault);
        unmake(&m);
    }
}

static void test_leftovers(void **state)
{
    (void)state;
    struct made m;
    make(&m);
    struct tel_error err = {0};
    /* A folder of somebody else's is not touched. */
    char path[160];
    snprintf(path, sizeof(path), "%s/mine", m.partial);
    assert_int_equal(tel_fs_mkdir_all(tel_fs_system(), path, &err), TEL_OK);
    assert_int_equal(take(&m, NULL, &err), TEL_ERR_EXISTS);
    assert_true(is_there(path));
    /* One that was made and no more is a leftover: killed before it had the lock. */
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), path, &err), TEL_OK);
    assert_int_equal(take(&m, NULL, &err), TEL_OK);
    assert_false(is_there(m.partial));
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), m.dest, &err), TEL_OK);
    assert_int_equal(tel_fs_mkdir_all(tel_fs_system(), path, &err), TEL_OK);
    /* One that a dead process left is; one that a living process makes is not. */
    struct tel_fs_lock *lock;
    char lock_path[160];
    snprintf(lock_path, sizeof(lock_path), "%s/LOCK", m.partial);
    assert_int_equal(tel_fs_lock(lock_path, &lock, &err), TEL_OK);
    assert_int_equal(take(&m, NULL, &err), TEL_ERR_LOCKED);
    assert_true(is_there(path));
    tel_fs_unlock(lock);
    assert_int_equal(take(&m, NULL, &err), TEL_OK);
    assert_false(is_there(m.partial));
    check_copy(&m);
    unmake(&m);
}

/* ---- manifests ---------------------------------------------------------------------------------- */

static void test_manifest(void **state)
{
    (void)state;
    struct manifest m = {.made_ns = 5}, again;
    struct tel_error err = {0};
    for (uint32_t p = 0; p < 3; p++) {
        struct manifest_partition part = {.partition = p * 7, .resume = {p, 100 + p}, .segments = 2,
                                          .events = 3, .bytes = 4, .damaged = p};
        struct manifest_file meta = {.meta = true, .sum = {10, 1, 99}};
        tel_vec_push(&part.files, meta);
        for (uint32_t d = 0; d < p; d++)
            tel_vec_push(&part.files,
                         ((struct manifest_file){.day = {20000 + d, d}, .sum = {d, d, ~d}}));
        tel_vec_push(&m.partitions, part);
    }
    struct tel_buf text = {0}, second = {0};
    manifest_write(&m, &text);
    assert_int_equal(manifest_parse(tel_buf_span(&text), &again, &err), TEL_OK);
    manifest_write(&again, &second);
    assert_true(tel_span_eq(tel_buf_span(&text), tel_buf_span(&second)));
    manifest_done(&again);
    /* No byte of it may change, and none may be missing. */
    for (size_t i = 0; i < text.len; i++) {
        text.ptr[i] ^= 1;
        assert_int_not_equal(manifest_parse(tel_buf_span(&text), &again, &err), TEL_OK);
        text.ptr[i] ^= 1;
        assert_int_not_equal(manifest_parse(tel_span_make(text.ptr, i), &again, &err), TEL_OK);
    }
    manifest_done(&m);
    tel_buf_free(&text);
    tel_buf_free(&second);
}

/* With a right checksum, too: names that lead elsewhere, doubles, what is missing. */
static void test_bad_manifests(void **state)
{
    (void)state;
    static const char p0[] = "partition 0 epoch 0 resume 1 segments 0 events 0 bytes 0 damaged 0 ";
    static const char sums[] = " bytes 1 records 1 crc32c 1\n";
    const char *const bad[][6] = {
        {p0, "files 1\n", "file ../../etc", sums},
        {p0, "files 1\n", "file 2026-01-02.0", sums},
        {p0, "files 2\n", "file meta", sums, "file meta", sums},
        {p0, "files 2\n", "file meta", sums, "file 2026-01-02.0/../x", sums},
        {p0, "files 2\n", "file meta", sums},
        {p0, "files 1\n", "file meta", sums, "file 2026-01-02.0", sums},
        {p0, "files 0\n"},
        {p0, "files 99999999999999999999\n"},
        {p0, "files 1\n", "file meta", sums, p0, "files 1\n"},
        {"file meta", sums},
        {"nonsense\n"},
        {p0, "files 1 \n", "file meta", sums},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(bad); i++) {
        struct manifest empty = {.made_ns = 1}, ret;
        struct tel_error err = {0};
        struct tel_buf text = {0};
        manifest_write(&empty, &text); /* for its head; then the rest, and a right checksum */
        text.len = tel_span_find(tel_buf_span(&text), TEL_SPAN("crc32c"));
        for (size_t j = 0; j < 6 && bad[i][j]; j++)
            tel_buf_add_span(&text, tel_span_cstr(bad[i][j]));
        uint32_t crc = tel_crc32c(0, text.ptr, text.len);
        tel_buf_printf(&text, "crc32c %u\n", crc);
        if (manifest_parse(tel_buf_span(&text), &ret, &err) != TEL_ERR_CORRUPT ||
            !strstr(err.text, "line"))
            fail_msg("%zu: taken, or \"%s\"", i, err.text);
        tel_buf_free(&text);
    }
    struct manifest ret;
    struct tel_error err;
    assert_int_equal(manifest_parse(TEL_SPAN("telescope-snapshot 2\n"), &ret, &err),
                     TEL_ERR_UNSUPPORTED);
    assert_int_equal(manifest_parse(TEL_SPAN(""), &ret, &err), TEL_ERR_CORRUPT);
}

/* ---- a shard server ------------------------------------------------------------------------------ */

static void send_some(struct world *w, uint64_t *next, unsigned messages, unsigned days)
{
    for (unsigned i = 0; i < messages; i++) {
        struct world_event events[20];
        char bodies[20][40];
        for (unsigned k = 0; k < 20; k++) {
            uint64_t id = ++*next;
            snprintf(bodies[k], sizeof(bodies[k]), "task %llu", (unsigned long long)id);
            events[k] = (struct world_event){
                BASE + (int64_t)(id % days) * TEL_NS_PER_DAY + (int64_t)id * 1000, id, bodies[k]};
        }
        world_send(w, 0, "default", "s", events, 20);
        if (i % 3 == 0) /* again, as a sidecar does that was started anew */
            world_send(w, 0, "default", "s", events, 20);
    }
    world_sync(w);
}

static void check_once(struct world *w, uint64_t last)
{
    world_await(w, "default", "task", last);
    struct found found;
    struct tel_error err = {0};
    assert_int_equal(world_search(w, "default", "task", 0, &found, &err), TEL_OK);
    assert_string_equal(found.end->partitions[0]->missing, "");
    for (uint64_t id = 1; id <= last; id++) {
        char body[40];
        int len = snprintf(body, sizeof(body), "task %llu", (unsigned long long)id);
        uint64_t *times = tel_map_get(&found.bodies, tel_span_make(body, (size_t)len));
        if (!times || *times != 1)
            fail_msg("[%s] is there %llu times", body, (unsigned long long)(times ? *times : 0));
    }
    found_done(&found);
}

static tel_code restore_to(struct world *w, const char *from, const char *to, struct tel_error *err)
{
    (void)w;
    FILE *out = fopen("/dev/null", "w");
    struct restore_options o = {.snapshot = from, .dir = to, .out = out};
    tel_code rc = restore_run(&o, err);
    fclose(out);
    return rc;
}

/* Snapshots one after the other while events come, are merged, and days are deleted. Each is restored,
 * and a server on it that reads the queue on has every event once. */
static void test_running(void **state)
{
    (void)state;
    struct world w;
    uint64_t next = 0;
    world_begin(&w, 1);
    w.options.memory_bytes = 1 << 20;
    w.options.segment_rows = 1500;
    w.options.flush_interval_ms = 10;
    w.options.flush_interval_max_ms = 20;
    w.options.quiet_after_ms = 30;
    world_start(&w);
    char store[80], snap[4][96], data[96];
    snprintf(store, sizeof(store), "%s", w.store);
    struct tel_error err = {0};
    for (unsigned i = 0; i < 4; i++) {
        send_some(&w, &next, 40, 12);
        snprintf(snap[i], sizeof(snap[i]), "%s/snap%u", w.dir, i);
        struct shard_snapshot_request request = {.dest = snap[i]};
        struct manifest manifest;
        if (shard_server_snapshot(w.server, &request, &manifest, &err) != TEL_OK)
            fail_msg("%s", err.text);
        manifest_done(&manifest);
    }
    send_some(&w, &next, 20, 12);
    check_once(&w, next);
    world_stop(&w, true);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(data, sizeof(data), "%s/data%u", w.dir, i);
        if (restore_to(&w, snap[i], data, &err) != TEL_OK)
            fail_msg("snapshot %u: %s", i, err.text);
        assert_int_equal(restore_to(&w, snap[i], data, &err), TEL_ERR_EXISTS); /* twice */
        w.options.dir = data;
        world_start(&w);
        check_once(&w, next);
        world_stop(&w, false);
    }
    w.options.dir = store;
    world_end(&w);
}

static bool gone_at_once(void *ctx)
{
    (void)ctx;
    return true;
}

static void test_refused(void **state)
{
    (void)state;
    struct world w;
    uint64_t next = 0;
    world_begin(&w, 2);
    w.options.flush_interval_ms = w.options.flush_interval_max_ms = 10;
    world_start(&w);
    for (unsigned i = 0; i < 30; i++)
        send_some(&w, &next, 40, 12);
    world_await(&w, "default", "task", next);
    char snap[96], data[96];
    snprintf(snap, sizeof(snap), "%s/snap", w.dir);
    snprintf(data, sizeof(data), "%s/data", w.dir);
    struct tel_error err = {0};
    struct manifest manifest;
    uint32_t three = 3, one = 1;
    struct shard_snapshot_request request = {.dest = snap, .partitions = &three, .partition_count = 1};
    assert_int_equal(shard_server_snapshot(w.server, &request, &manifest, &err), TEL_ERR_NOTFOUND);
    request = (struct shard_snapshot_request){.dest = snap, .gone = gone_at_once};
    assert_int_equal(shard_server_snapshot(w.server, &request, &manifest, &err), TEL_ERR_CANCELLED);
    assert_false(is_there(snap));
    request = (struct shard_snapshot_request){.dest = snap};
    assert_int_equal(shard_server_snapshot(w.server, &request, &manifest, &err), TEL_OK);
    assert_int_equal(manifest.partitions.len, 2);
    manifest_done(&manifest);
    /* One partition of it, then the other. */
    FILE *out = fopen("/dev/null", "w");
    struct restore_options o = {
        .snapshot = snap, .dir = data, .partitions = &three, .count = 1, .out = out};
    assert_int_equal(restore_run(&o, &err), TEL_ERR_NOTFOUND);
    o.partitions = &one;
    assert_int_equal(restore_run(&o, &err), TEL_OK);
    o.partitions = NULL;
    o.count = 0;
    assert_int_equal(restore_run(&o, &err), TEL_ERR_EXISTS); /* p1 is */
    char path[128];
    snprintf(path, sizeof(path), "%s/p0", data);
    assert_false(is_there(path));
    o.dir = w.store; /* a server has it */
    assert_int_equal(restore_run(&o, &err), TEL_ERR_LOCKED);
    o.dir = data;
    o.snapshot = w.queue;
    assert_int_equal(restore_run(&o, &err), TEL_ERR_NOTFOUND);
    fclose(out);
    world_end(&w);
}

/* Any byte of a snapshot that has changed is found, and nothing is made of it. */
static void test_damaged_snapshot(void **state)
{
    (void)state;
    struct world w;
    uint64_t next = 0;
    world_begin(&w, 1);
    w.options.flush_interval_ms = w.options.flush_interval_max_ms = 10;
    world_start(&w);
    send_some(&w, &next, 20, 3);
    world_await(&w, "default", "task", next);
    world_stop(&w, true);
    world_start(&w);
    char snap[96], data[96], path[128];
    snprintf(snap, sizeof(snap), "%s/snap", w.dir);
    snprintf(data, sizeof(data), "%s/data", w.dir);
    struct tel_error err = {0};
    struct manifest manifest;
    struct shard_snapshot_request request = {.dest = snap};
    assert_int_equal(shard_server_snapshot(w.server, &request, &manifest, &err), TEL_OK);
    manifest_done(&manifest);
    uint64_t seed = tel_rand_seed() >> 32;
    printf("[ seed     ] %llu\n", (unsigned long long)seed);
    struct tel_rand r;
    tel_rand_init(&r, seed);
    static const char *const names[] = {"MANIFEST", "p0/meta", "p0/2025-11-08.0"};
    for (unsigned i = 0; i < 30; i++) {
        snprintf(path, sizeof(path), "%s/%s", snap, names[i % 3]);
        struct tel_fs_stat st;
        assert_int_equal(tel_fs_stat(tel_fs_system(), path, &st, &err), TEL_OK);
        long at = (long)tel_rand_below(&r, st.size);
        FILE *file = fopen(path, "r+b");
        fseek(file, at, SEEK_SET);
        int c = fgetc(file);
        fseek(file, at, SEEK_SET);
        fputc(c ^ (1 << tel_rand_below(&r, 8)), file);
        fclose(file);
        tel_code rc = restore_to(&w, snap, data, &err);
        if (rc == TEL_OK || err.text[0] == '\0')
            fail_msg("byte %ld of %s: %d", at, path, rc);
        char made[128];
        snprintf(made, sizeof(made), "%s/p0", data);
        assert_false(is_there(made));
        snprintf(made, sizeof(made), "%s/p0.restoring", data);
        assert_false(is_there(made));
        file = fopen(path, "r+b");
        fseek(file, at, SEEK_SET);
        fputc(c, file);
        fclose(file);
    }
    if (restore_to(&w, snap, data, &err) != TEL_OK)
        fail_msg("%s", err.text);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),      cmocka_unit_test(test_failures),
        cmocka_unit_test(test_full),      cmocka_unit_test(test_power),
        cmocka_unit_test(test_leftovers), cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_bad_manifests), cmocka_unit_test(test_running),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_damaged_snapshot),
    };
    tel_log_set_level(getenv("TEST_LOG") ? TEL_LOG_DEBUG : TEL_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

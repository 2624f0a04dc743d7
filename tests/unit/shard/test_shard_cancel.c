/*
 * Searches that nobody wants any more: stopped at random points, in memory and in segments, they end
 * within little more work. What is measured is the process's CPU time behind the moment at which the
 * sink first says so, which a busy machine does not change. The seed is printed and can be given:
 * test_shard_cancel SEED [STOPS].
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "tests/unit/shard/shard_fixture.h"

#define EVENTS 120000u
#define BATCH  4000u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LATE_MS 1500 /* everything but the expressions' own code is so much slower */
#else
#define LATE_MS 100 /* 50 on each of two threads */
#endif

static uint64_t seed;
static unsigned stops = 6;

static int64_t cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

struct stopper {
    int64_t at_ns; /* CPU time from which on the search is to end */
};

static tel_code stop_soon(void *ctx)
{
    const struct stopper *s = ctx;
    return cpu_ns() >= s->at_ns ? TEL_ERR_CANCELLED : TEL_OK;
}

static tel_code drop_rows(void *ctx, Telescope__Shard__V1__RowBatch *batch, struct tel_error *err)
{
    (void)ctx;
    (void)err;
    protobuf_c_message_free_unpacked(&batch->base, NULL);
    return TEL_OK;
}

/* Lines that expressions go back and forth over, each of its own. */
static void feed(struct world *w, struct tel_rand *r)
{
    static const char *const words[] = {"aeiaeiaei", "took", "error in module", "user", "eaeaea",
                                        "connection from", "iiiiaaaa", "retry", "status"};
    struct world_event events[BATCH];
    struct tel_arena arena;
    for (uint32_t done = 0; done < EVENTS; done += BATCH) {
        tel_arena_init(&arena, 0);
        for (uint32_t i = 0; i < BATCH; i++) {
            struct tel_buf body = {0};
            for (unsigned k = 0; k < 12; k++)
                tel_buf_printf(&body, "%s %s%llu ", words[tel_rand_below(r, TEL_ARRAY_LEN(words))],
                               tel_rand_below(r, 2) ? "x" : "", (unsigned long long)tel_rand_below(r, 100000));
            tel_buf_add_char(&body, 0);
            events[i] = (struct world_event){INT64_C(1767225600000000000) + done + i, done + i + 1,
                                             tel_arena_strdup(&arena, body.ptr)};
            tel_buf_free(&body);
        }
        world_send(w, 0, "default", "file", events, BATCH);
        tel_arena_free(&arena);
    }
    world_sync(w);
    world_await(w, "default", "*", EVENTS);
}

/* before piece0 between piece1 ... behind, with the number of each in it. */
static char *many(const char *before, const char *piece, const char *between, unsigned count,
                  const char *behind)
{
    struct tel_buf q = {0};
    tel_buf_printf(&q, "%s", before);
    for (unsigned i = 0; i < count; i++)
        tel_buf_printf(&q, "%s%s%uz%s", i ? between : "", piece, i, strchr(piece, '"') ? "\"" : "");
    tel_buf_printf(&q, "%s", behind);
    char *text = tel_strndup(tel_buf_span(&q));
    tel_buf_free(&q);
    return text;
}

static size_t make_queries(char *ret[12])
{
    size_t n = 0;
    ret[n++] = tel_strndup(TEL_SPAN("~\"(a|e|i)+.*[0-9]{4}.*(x|y)$\""));
    ret[n++] = tel_strndup(TEL_SPAN("!~\"[a-z]+ .*[a-z]+ .*[a-z]+[0-9]+ .*q\""));
    ret[n++] = many("~\"(", "w[a-z]+", "|", 1000, ")\"");
    ret[n++] = many("", "~\"a.*b[0-9]", " or ", 3000, "");
    ret[n++] = many("contains_any(", "\"w", ",", 5000, ")");
    ret[n++] = many("in(", "\"w", ",", 50000, ")");
    ret[n++] = many("", "\"w", " or ", 3000, "");
    ret[n++] = many("* | filter contains_any(", "\"w", ",", 5000, ")");
    ret[n++] = tel_strndup(TEL_SPAN("* | extract_regexp \"(?P<x>(a|e|i)+.*[0-9]{4}.*(x|y)$)\" | count_uniq(x)"));
    ret[n++] = tel_strndup(TEL_SPAN("* | replace_regexp (\"(a|e|i)+.*[0-9]{4}.*(x|y)$\", \"\") | count_uniq(_msg)"));
    ret[n++] = tel_strndup(TEL_SPAN("* | sort by (_msg)"));
    return n;
}

static void stop_often(struct world *w, struct tel_rand *r, const char *where)
{
    char *queries[12];
    size_t count = make_queries(queries);
    for (size_t q = 0; q < count; q++) {
        int64_t worst = 0;
        unsigned stopped = 0;
        for (unsigned i = 0; i < stops; i++) {
            Telescope__Shard__V1__SearchRequest request = TELESCOPE__SHARD__V1__SEARCH_REQUEST__INIT;
            request.tenant = (char *)(uintptr_t) "default";
            request.partitions = w->partitions;
            request.n_partitions = 1;
            request.query = queries[q];
            request.shard_pipes = strchr(queries[q], '|') && queries[q][0] == '*'
                                      ? strstr(queries[q], "| count_uniq") ? 2 : 1
                                      : 0;
            struct stopper s = {cpu_ns() + (int64_t)tel_rand_below(r, UINT64_C(1) << (20 + tel_rand_below(r, 10)))};
            struct shard_sink sink = {&s, drop_rows, stop_soon};
            Telescope__Shard__V1__SearchEnd *end;
            struct tel_error err;
            tel_code rc = shard_search(w->server, &request, &sink, &end, &err);
            int64_t late = cpu_ns() - s.at_ns;
            if (rc == TEL_OK) { /* it was faster */
                protobuf_c_message_free_unpacked(&end->base, NULL);
                continue;
            }
            if (rc != TEL_ERR_CANCELLED)
                fail_msg("%.60s: %s (seed %llu)", queries[q], err.text, (unsigned long long)seed);
            worst = late > worst ? late : worst;
            stopped++;
        }
        printf("[ stopped  ] %s, %u times, within %.1f ms of CPU: %.60s\n", where, stopped,
               (double)worst / 1e6, queries[q]);
        if (worst > LATE_MS * INT64_C(1000000))
            fail_msg("%.60s went on for %lld ms (seed %llu)", queries[q],
                     (long long)(worst / 1000000), (unsigned long long)seed);
        free(queries[q]);
    }
}

static void test_stops(void **state)
{
    (void)state;
    struct tel_rand r;
    struct world w;
    tel_rand_init(&r, seed);
    world_begin(&w, 1);
    w.options.memory_bytes = 512 << 20;
    w.options.segment_rows = 60000;
    world_start(&w);
    feed(&w, &r);
    stop_often(&w, &r, "memory");
    world_stop(&w, true);
    world_start(&w);
    world_await(&w, "default", "*", EVENTS);
    stop_often(&w, &r, "segments");
    world_end(&w);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : tel_rand_seed() % 1000000;
    if (argc > 2)
        stops = (unsigned)strtoul(argv[2], NULL, 10);
    printf("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Any text as a query: the parser takes it or says why not; what it takes prints to a text that
 * parses and prints the same; and it runs on a few rows, whole and split, with the same number of
 * rows or the same kind of error, in bounded memory.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/logsql/parser.h"
#include "common/logsql/print.h"
#include "tests/unit/logsql/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROW1                                                                                       \
    "{\"_time\":\"2026-03-04T05:00:00Z\",\"_msg\":\"GET /a 200 ip=1.2.3.4 \\\"x "                  \
    "y\\\"\",\"app\":\"web\","                                                                     \
    "\"n\":\"1.5\",\"js\":\"{\\\"a\\\":{\\\"b\\\":[1]}}\",\"tags\":\"[1,\\\"b\\\"]\",\"_stream_"   \
    "id\":\"1\"}"

static const char *const rows[] = {
    ROW1,
    "{\"_time\":\"2026-03-04T05:00:01Z\",\"_msg\":\"<13>1 - h a - - - "
    "hi\",\"n\":\"10KiB\",\"_stream_id\":\"2\"}",
    "{\"_msg\":\"тест a=b c=\\\"d\",\"n\":\"\",\"dur\":\"5ms\",\"_stream\":\"{app=\\\"web\\\"}\"}",
    "{\"app\":\"web\",\"n\":\"-7\",\"dur\":\"1h\",\"_time\":\"2026-03-05T00:00:00Z\",\"_stream_"
    "id\":\"1\"}",
};

/* Prints a query that parses; NULL if it does not. */
static char *print(struct tel_span text, int64_t now_ns)
{
    struct tel_arena arena = {0};
    struct tel_error err = {0};
    struct tel_query *q;
    struct tel_buf out = {0};
    char *printed = NULL;
    if (tel_query_parse(text, now_ns, NULL, &arena, &q, &err) == TEL_OK) {
        tel_query_print(&out, q);
        printed = tel_strndup(tel_buf_span(&out));
        tel_query_done(q);
    }
    tel_buf_free(&out);
    tel_arena_free(&arena);
    return printed;
}

static void fail(const char *what, const char *a, const char *b)
{
    fprintf(stderr, "%s\n  %s\n  %s\n", what, a, b);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct engine e;
    if (size > 2048)
        return 0;
    engine_init(&e);
    struct tel_span text = tel_span_make(data, size);
    char *once = print(text, e.now_ns);
    if (once) {
        char *twice = print(tel_span_cstr(once), e.now_ns);
        if (!twice || strcmp(once, twice) != 0)
            fail("prints differently the second time", once, twice ? twice : "(does not parse)");
        free(twice);
        e.memory_limit = 4u << 20;
        for (size_t i = 0; i < TEL_ARRAY_LEN(rows); i++)
            engine_add(&e, tel_span_cstr(rows[i]));
        for (size_t shards = 0; shards <= 2; shards += 2) {
            struct engine_answer a;
            struct tel_error err = {0};
            if (engine_run(&e, text, 2, shards, &a, &err) != TEL_OK && !err.text[0])
                fail("an error without a text", once, "");
            engine_answer_done(&a);
        }
    }
    free(once);
    engine_done(&e);
    return 0;
}

#include "tests/unit/insert/insert_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/record/codec.h"
#include "common/sys/fs.h"
#include "tests/unit/http/http_raw.h"

void fixture_start(struct fixture *f, uint64_t budget, uint64_t body_max, uint32_t send_timeout_ms)
{
    struct tel_error err;
    if (!f->dir[0]) {
        snprintf(f->dir, sizeof(f->dir), "/tmp/insert-test-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
    }
    char queue[80];
    snprintf(queue, sizeof(queue), "%s/queue", f->dir);
    struct tel_transport_journal_options t = {.dir = queue, .partitions = 1, .partition_bytes = budget, .sync_interval_ms = 1};
    assert_int_equal(tel_transport_journal_new(&t, &f->transport, &err), TEL_OK);
    struct tel_insert_options o = {.transport = f->transport, .dir = f->dir, .body_max = body_max,
                                   .send_timeout_ms = send_timeout_ms};
    assert_int_equal(tel_insert_new(&o, &f->insert, &err), TEL_OK);
    struct tel_http_server_options h = {.address = "127.0.0.1:0"};
    assert_int_equal(tel_http_server_new(&h, &f->server, &err), TEL_OK);
    tel_insert_routes(f->insert, f->server);
    assert_int_equal(tel_http_server_start(f->server, &err), TEL_OK);
    f->address = tel_http_server_address(f->server);
}

void fixture_stop(struct fixture *f)
{
    tel_http_server_free(f->server);
    tel_insert_free(f->insert);
    tel_transport_free(f->transport);
}

void fixture_remove(struct fixture *f)
{
    struct tel_error err;
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), f->dir, &err), TEL_OK);
    f->dir[0] = '\0';
}

char *fixture_post(struct fixture *f, const char *path, const char *headers, const void *body,
                   size_t len, int status)
{
    char head[2048];
    snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\n%s", path, headers);
    char *answer = raw_ask(f->address, head, body, len);
    if (raw_status(answer) != status)
        print_message("%s: %.500s\n", path, answer);
    assert_int_equal(raw_status(answer), status);
    char *text = tel_strdup(raw_body(answer));
    free(answer);
    return text;
}

static void dump_event(struct tel_buf *out, const struct tel_batch *b, const struct tel_event *e)
{
    tel_buf_printf(out, "%.*s|", TEL_SPAN_ARG(b->tenant));
    for (uint32_t i = 0; i < b->resource_count; i++)
        tel_buf_printf(out, "%s%.*s=%.*s", i ? "," : "", TEL_SPAN_ARG(b->resource[i].name),
                       TEL_SPAN_ARG(b->resource[i].value));
    tel_buf_printf(out, "|%lld|", (long long)e->timestamp_ns);
    tel_buf_add_span(out, e->body);
    tel_buf_add_char(out, '|');
    for (uint32_t i = 0; i < e->attribute_count; i++)
        tel_buf_printf(out, "%s%.*s=%.*s", i ? "," : "", TEL_SPAN_ARG(e->attributes[i].name),
                       TEL_SPAN_ARG(e->attributes[i].value));
    if (e->severity)
        tel_buf_printf(out, "|severity=%u", e->severity);
    if (e->trace_id.len)
        tel_buf_printf(out, "|trace=%.*s", TEL_SPAN_ARG(e->trace_id));
    tel_buf_add_char(out, '\n');
}

char *fixture_dump(struct fixture *f)
{
    struct tel_consumer *c = NULL;
    struct tel_error err;
    struct tel_buf out = {0};
    struct tel_map positions = {0};
    assert_int_equal(tel_transport_consumer(f->transport, 0, 0, 0, &c, &err), TEL_OK);
    for (;;) {
        const struct tel_message *messages = NULL;
        size_t count = 0;
        int64_t gap = 0;
        assert_int_equal(tel_consumer_poll(c, 0, 100, &messages, &count, &gap, &err), TEL_OK);
        if (count == 0)
            break;
        for (size_t i = 0; i < count; i++) {
            struct tel_arena arena = {0};
            struct tel_batch batch;
            tel_arena_init(&arena, 0);
            assert_int_equal(tel_record_decode(NULL, messages[i].value, &arena, &batch, &err), TEL_OK);
            assert_true(tel_span_eq(batch.source, messages[i].key));
            for (uint32_t e = 0; e < batch.event_count; e++) {
                uint64_t *last = tel_map_put(&positions, batch.source, NULL);
                assert_true(batch.events[e].position > *last);
                *last = batch.events[e].position;
                dump_event(&out, &batch, &batch.events[e]);
            }
            tel_arena_free(&arena);
        }
    }
    tel_consumer_free(c);
    tel_map_free(&positions);
    (void)tel_buf_cstr(&out);
    return out.ptr;
}

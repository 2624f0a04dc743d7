/* Bodies of inserts from outside: the first byte chooses the format, the rest is the body. */
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/http/http_encoding.h"
#include "sidecar/insert/insert_internal.h"
#include "sidecar/insert/insert_time.h"

#define OUT_MAX (1u << 20)

static struct tel_insert in;

static void setup(void)
{
    in.clock = tel_clock_system();
    in.body_max = OUT_MAX;
    atomic_store(&in.partitions, 1);
    in.generation = 1;
    tel_mutex_init(&in.lock);
    tel_cond_init(&in.progress);
    tel_log_set_level(TEL_LOG_OFF);
}

/* Parses into a session that is dropped: nothing of it is ever sent. */
static void take(struct tel_span body, bool loki, bool json)
{
    struct tel_error err;
    struct insert_session *s = insert_session_new(&in, TEL_SPAN("t"), "fuzz");
    (void)(loki ? insert_loki_take(s, body, json, &err) : insert_otlp_take(s, body, json, &err));
    insert_session_free(s);
}

static void flat(struct tel_span body)
{
    struct tel_arena arena = {0};
    struct json_flat f = {.arena = &arena};
    tel_arena_init(&arena, 0);
    if (!json_flatten(&f, body) && (!f.error || f.error_at > body.len))
        abort();
    tel_vec_free(&f.fields);
    tel_arena_free(&arena);
}

static void decode(const char *encoding, struct tel_span body)
{
    struct tel_http_decoder *d = NULL;
    struct tel_error err;
    struct tel_buf out = {0};
    if (tel_http_decoder_new(tel_span_cstr(encoding), &d, &err) != TEL_OK)
        abort();
    struct tel_span half = tel_span_slice(body, 0, body.len / 2), rest = tel_span_slice(body, half.len, body.len);
    if (tel_http_decoder_feed(d, half, OUT_MAX, &out, &err) == TEL_OK &&
        tel_http_decoder_feed(d, rest, OUT_MAX, &out, &err) == TEL_OK)
        (void)!tel_http_decoder_end(d, &err);
    if (out.len > OUT_MAX + 65536)
        abort();
    tel_http_decoder_free(d);
    tel_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static bool ready;
    if (!ready)
        setup();
    ready = true;
    if (size == 0 || size > 65536)
        return 0;
    struct tel_span body = {(const char *)data + 1, size - 1};
    struct tel_buf out = {0};
    struct tel_error err;
    int64_t ns = 0;
    switch (data[0] % 9) {
    case 0: flat(body); break;
    case 1: take(body, true, true); break;
    case 2: take(body, true, false); break;
    case 3: take(body, false, true); break;
    case 4: take(body, false, false); break;
    case 5: decode("gzip", body); break;
    case 6: decode("zstd", body); break;
    case 7: (void)insert_time_parse(body, 1, &ns); break;
    default:
        (void)!tel_http_snappy_decode(body, OUT_MAX, &out, &err);
        tel_buf_clear(&out);
        tel_http_percent_decode(body, &out);
        break;
    }
    tel_buf_free(&out);
    return 0;
}

/*
 * Any bytes as a message: no crash, no memory beyond what the caps allow, and both paths of the decoder
 * of one mind. What decodes is encoded again and must come back the same.
 */
#include <stdlib.h>

#include "common/record/codec.h"
#include "common/record/resolve.h"
#include "schemas/schemas.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SINGLE_HEAD = 10, CONFLUENT_HEAD = 5 };

/* Another writer: reordered, with more fields and other text types. */
static const char other[] =
    "{\"type\":\"record\",\"name\":\"LogBatch\",\"fields\":["
    "{\"name\":\"extra\",\"type\":{\"type\":\"map\",\"values\":[\"null\",\"double\",{\"type\":\"array\",\"items\":\"int\"}]}},"
    "{\"name\":\"events\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"LogEvent\",\"fields\":["
    "{\"name\":\"body\",\"type\":[\"null\",\"string\",\"bytes\"]},"
    "{\"name\":\"next\",\"type\":[\"null\",\"LogEvent\"]},"
    "{\"name\":\"position\",\"type\":\"int\"},"
    "{\"name\":\"kind\",\"type\":{\"type\":\"enum\",\"name\":\"Kind\",\"symbols\":[\"A\",\"B\"]}},"
    "{\"name\":\"attributes\",\"type\":{\"type\":\"map\",\"values\":\"string\"}},"
    "{\"name\":\"timestamp\",\"type\":\"long\"}]}}},"
    "{\"name\":\"hash\",\"type\":{\"type\":\"fixed\",\"name\":\"Hash\",\"size\":3}},"
    "{\"name\":\"source\",\"type\":\"bytes\"}]}";

static tel_code look_up(void *ctx, enum tel_record_frame frame, uint64_t id, struct tel_span *ret_json,
                        struct tel_error *err)
{
    (void)ctx;
    if (frame == TEL_RECORD_CONFLUENT && id == 1)
        *ret_json = tel_span_make(tel_schema_log_batch_avsc, tel_schema_log_batch_avsc_len);
    else if (frame == TEL_RECORD_CONFLUENT && id == 2)
        *ret_json = tel_span_cstr(other);
    else
        return tel_error_set(err, TEL_ERR_NOTFOUND, "no such schema");
    return TEL_OK;
}

static void must(bool fine)
{
    if (!fine)
        abort();
}

static bool fields_equal(const struct tel_field *a, const struct tel_field *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!tel_span_eq(a[i].name, b[i].name) || !tel_span_eq(a[i].value, b[i].value))
            return false;
    return true;
}

static bool equal(const struct tel_batch *a, const struct tel_batch *b)
{
    if (!tel_span_eq(a->tenant, b->tenant) || !tel_span_eq(a->source, b->source) ||
        a->resource_count != b->resource_count || a->event_count != b->event_count ||
        !fields_equal(a->resource, b->resource, a->resource_count))
        return false;
    for (uint32_t i = 0; i < a->event_count; i++) {
        const struct tel_event *x = &a->events[i], *y = &b->events[i];
        if (x->timestamp_ns != y->timestamp_ns || x->position != y->position ||
            x->severity != y->severity || !tel_span_eq(x->body, y->body) ||
            !tel_span_eq(x->trace_id, y->trace_id) || !tel_span_eq(x->span_id, y->span_id) ||
            x->attribute_count != y->attribute_count ||
            !fields_equal(x->attributes, y->attributes, x->attribute_count))
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tel_record_decoder *decoder;
    static struct tel_record_resolver *ours;
    struct tel_error err;
    if (!decoder) {
        decoder = tel_record_decoder_new(look_up, NULL);
        must(tel_record_resolver_new(
                 tel_span_make(tel_schema_log_batch_avsc, tel_schema_log_batch_avsc_len), &ours, &err) == TEL_OK);
    }
    struct tel_arena arena = {0};
    struct tel_batch batch, again;
    struct tel_span message = tel_span_make(data, size);
    static const struct tel_record_framing framing = {.frame = TEL_RECORD_CONFLUENT, .schema_id = 1};
    tel_code rc = tel_record_decode(decoder, message, &arena, &batch, &err);
    must(arena.bytes <= 4096 + (1u << 20) + 120 * size); /* in proportion to what is there */
    if (rc == TEL_OK) {
        struct tel_buf buf = {0};
        must(tel_record_encode(&batch, &framing, &buf, &err) == TEL_OK);
        must(tel_record_decode(decoder, tel_buf_span(&buf), &arena, &again, &err) == TEL_OK);
        must(equal(&batch, &again));
        tel_buf_free(&buf);
    }
    bool is_ours = size >= SINGLE_HEAD && data[0] == 0xc3 &&
                   (rc == TEL_OK || err.code != TEL_ERR_UNSUPPORTED) && err.code != TEL_ERR_NOTFOUND;
    if (is_ours && rc == TEL_OK)
        must(tel_record_resolver_decode(ours, message, SINGLE_HEAD, &arena, &again, &err) == TEL_OK);
    tel_arena_free(&arena);
    return 0;
}

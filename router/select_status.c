/* /select/status: every replica of every partition, as JSON; what `telescope status` prints. */
#include "router/select_internal.h"
#include "router/status.h"

#define STATUS_TIMEOUT_MS 2000

static void add_text(struct tel_buf *out, const char *name, const char *value)
{
    tel_buf_printf(out, "\"%s\":", name);
    tel_buf_add_json(out, tel_span_cstr(value));
    tel_buf_add_char(out, ',');
}

void select_status_handler(void *ctx, struct tel_http_request *req)
{
    struct select *s = ctx;
    Telescope__Router__V1__StatusResponse *res = router_status(s->router, STATUS_TIMEOUT_MS);
    struct tel_buf out = {0};
    TEL_BUF_ADD_LIT(&out, "{\"shards\":[");
    for (size_t i = 0; i < res->n_shards; i++) {
        const Telescope__Router__V1__ShardStatus *e = res->shards[i];
        tel_buf_printf(&out, "%s{\"partition\":%u,", i ? "," : "", e->partition);
        add_text(&out, "node", e->node);
        add_text(&out, "address", e->address);
        add_text(&out, "state", e->state);
        add_text(&out, "error", e->error);
        tel_buf_printf(&out,
                       "\"watermark\":%lld,\"high\":%lld,\"lag_ms\":%llu,\"events\":%llu,"
                       "\"stored_bytes\":%llu,\"raw_bytes\":%llu}",
                       (long long)e->watermark, (long long)e->high, (unsigned long long)e->lag_ms,
                       (unsigned long long)e->events, (unsigned long long)e->stored_bytes,
                       (unsigned long long)e->raw_bytes);
    }
    TEL_BUF_ADD_LIT(&out, "]}\n");
    tel_http_reply(req, 200, "application/json", tel_buf_span(&out));
    tel_buf_free(&out);
    protobuf_c_message_free_unpacked(&res->base, NULL);
}

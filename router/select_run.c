/* What the endpoints share: running a query to its end, headers, errors, lists of values. */
#include <stdlib.h>

#include "router/explain.h"
#include "router/select_internal.h"

#define HEADER_MAX 2000

void select_fail(struct tel_http_request *req, const struct tel_error *err)
{
    unsigned status = tel_http_status_of(err->code);
    if (err->code == TEL_ERR_CORRUPT || err->code == TEL_ERR_TRUNCATED)
        status = 500; /* not the client's doing */
    if (err->code == TEL_ERR_AGAIN)
        tel_http_reply_header(req, "Retry-After", TEL_SPAN("1"));
    tel_http_reply_error(req, status, "%s", err->text);
}

void select_headers(struct tel_http_request *req, const struct query *q)
{
    if (query_missing(q) > 0) {
        struct tel_buf text = {0};
        query_missing_join(q, &text);
        tel_http_reply_header(req, "X-Telescope-Partial",
                              tel_span_slice(tel_buf_span(&text), 0, HEADER_MAX));
        tel_buf_free(&text);
    }
    const struct fanout_totals *t = query_totals(q);
    if (t->unchanged > 0)
        tel_http_reply_header(req, "X-Telescope-Cache",
                              tel_arena_printf(tel_http_arena(req), "%u/%u", t->unchanged,
                                               t->searches));
    tel_http_reply_header(
        req, "X-Telescope-Lag-Ms",
        tel_arena_printf(tel_http_arena(req), "%llu", (unsigned long long)query_totals(q)->lag_ms));
}

static tel_code drop_rows(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    (void)ctx;
    (void)block;
    (void)err;
    return TEL_OK;
}

void select_explain(struct select *s, struct tel_http_request *req,
                    const struct query_params *params)
{
    struct query *q;
    struct tel_error err;
    tel_code rc = query_open(s->router, params, drop_rows, NULL, &q, &err);
    if (rc == TEL_OK) {
        rc = query_run(q, &err);
        if (rc == TEL_OK) {
            struct tel_buf out = {0};
            explain_query(q, &out);
            select_headers(req, q);
            bool text = params->explain == QUERY_EXPLAIN_TEXT;
            if (!text)
                tel_buf_add_char(&out, '\n');
            tel_http_reply(req, 200, text ? "text/plain; charset=utf-8" : "application/json",
                           tel_buf_span(&out));
            tel_buf_free(&out);
        }
        query_close(q);
    }
    if (rc != TEL_OK)
        select_fail(req, &err);
}

bool select_run(struct select *s, struct tel_http_request *req, const struct query_params *params,
                tel_sink_fn sink, void *sink_ctx)
{
    if (params->explain) {
        select_explain(s, req, params);
        return false;
    }
    struct query *q;
    struct tel_error err;
    tel_code rc = query_open(s->router, params, sink, sink_ctx, &q, &err);
    if (rc == TEL_OK) {
        rc = query_run(q, &err);
        if (rc == TEL_OK)
            select_headers(req, q);
        query_close(q);
    }
    if (rc != TEL_OK)
        select_fail(req, &err);
    return rc == TEL_OK;
}

void select_hits_add(struct select_hits *h, struct tel_span value, uint64_t n)
{
    if (h->len == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 64;
        struct select_hit *more = TEL_ARENA_ARRAY(h->arena, struct select_hit, cap);
        if (h->len)
            memcpy(more, h->items, h->len * sizeof(*more));
        h->items = more;
        h->cap = cap;
    }
    h->items[h->len++] = (struct select_hit){tel_arena_copy(h->arena, value), n};
}

tel_code select_hits_sink(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct select_hits *h = ctx;
    struct tel_span name = h->field.len ? h->field : TEL_SPAN("value");
    const struct tel_column *value = tel_block_column(block, name);
    const struct tel_column *hits = tel_block_column(block, TEL_SPAN("hits"));
    (void)err;
    for (size_t i = 0; i < block->rows; i++) {
        unsigned long long n = 0;
        if (hits && hits->values)
            tel_span_to_u64(hits->values[i], &n);
        char text[TEL_TIME_TEXT_MAX];
        select_hits_add(h, value ? tel_column_value(block, value, i, text) : TEL_SPAN(""), n);
    }
    return TEL_OK;
}

static int by_hits(const void *a, const void *b)
{
    const struct select_hit *x = a, *y = b;
    if (x->hits != y->hits)
        return x->hits > y->hits ? -1 : 1;
    return tel_span_cmp(x->value, y->value);
}

void select_hits_sort(struct select_hits *hits)
{
    if (hits->len)
        qsort(hits->items, hits->len, sizeof(*hits->items), by_hits);
}

void select_hits_reply(struct tel_http_request *req, struct select_hits *hits, uint64_t limit)
{
    struct tel_buf out = {0};
    size_t shown = 0;
    TEL_BUF_ADD_LIT(&out, "{\"values\":[");
    for (size_t i = 0; i < hits->len && (limit == 0 || shown < limit); i++) {
        if (hits->items[i].value.len == 0 && !hits->with_empty)
            continue;
        if (shown++ > 0)
            tel_buf_add_char(&out, ',');
        TEL_BUF_ADD_LIT(&out, "{\"value\":");
        tel_buf_add_json(&out, hits->items[i].value);
        TEL_BUF_ADD_LIT(&out, ",\"hits\":");
        tel_buf_add_u64(&out, hits->items[i].hits);
        tel_buf_add_char(&out, '}');
    }
    TEL_BUF_ADD_LIT(&out, "]}\n");
    tel_http_reply(req, 200, "application/json", tel_buf_span(&out));
    tel_buf_free(&out);
}

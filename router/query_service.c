#include "router/query_service.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "router/explain.h"
#include "router/query.h"
#include "router/status.h"
#include "schemas/schemas.h"

#define TENANT_MAX 64
#define ROWS_BYTES (256u << 10) /* a message is sent when it has about so many */
#define STEP_MS    50
#define STATUS_MS  2000

typedef Telescope__Router__V1__SearchRequest search_request;
typedef Telescope__Router__V1__SearchResponse search_response;

struct query_service {
    Telescope__Router__V1__Query_Service base; /* first */
    struct router *router;
    struct users *users; /* NULL: everybody may read all */
    const struct tel_clock *clock;
};

/* One Search: its rows are sent as they come; the sink runs on the worker's thread and waits when
 * the client does not read. */
struct answer {
    struct tel_rpc_call *call;
    struct cursor cursor; /* of a page that is not the first */
    uint64_t binding;
    bool explain;
    struct tel_arena page_arena;
    struct tel_arena arena;
    uint64_t rows;
};

static tel_code judge(const struct query_service *s, const struct tel_rpc_call *call,
                      struct tel_span tenant, enum users_need need, struct tel_error *err)
{
    if (!s->users)
        return TEL_OK;
    switch (users_judge(s->users, tel_rpc_call_header(call, "authorization"), tenant, need)) {
    case USERS_MAY:
        return TEL_OK;
    case USERS_UNKNOWN:
        return tel_error_set(err, TEL_ERR_UNAUTHENTICATED, "no such user: send a bearer token");
    case USERS_MAY_NOT:
        break;
    }
    return tel_error_set(err, TEL_ERR_DENIED, "this user may not read the tenant %.*s",
                         TEL_SPAN_ARG(tenant));
}

static bool tenant_legal(const char *s)
{
    size_t len = strlen(s);
    return len <= TENANT_MAX &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:") == len;
}

static tel_code send_rows(struct answer *a, Telescope__Router__V1__Row **rows, size_t count,
                          struct tel_error *err)
{
    Telescope__Router__V1__Rows batch = TELESCOPE__ROUTER__V1__ROWS__INIT;
    batch.n_rows = count;
    batch.rows = rows;
    search_response res = TELESCOPE__ROUTER__V1__SEARCH_RESPONSE__INIT;
    res.kind_case = TELESCOPE__ROUTER__V1__SEARCH_RESPONSE__KIND_ROWS;
    res.rows = &batch;
    tel_code rc = tel_rpc_send_wait(a->call, &res.base);
    if (rc != TEL_OK)
        return tel_error_set(err, rc, "the client cannot be answered: %s", tel_code_text(rc));
    a->rows += count;
    return TEL_OK;
}

/* A row of a block as a message; NULL if all its fields are empty. */
static Telescope__Router__V1__Row *make_row(struct answer *a, const struct tel_block *block,
                                            size_t row, size_t *bytes)
{
    Telescope__Router__V1__Field **fields =
        TEL_ARENA_ARRAY(&a->arena, Telescope__Router__V1__Field *, block->column_count);
    size_t n = 0;
    for (size_t c = 0; c < block->column_count; c++) {
        char *text =
            block->columns[c].values ? NULL : tel_arena_alloc(&a->arena, TEL_TIME_TEXT_MAX);
        struct tel_span v = tel_column_value(block, &block->columns[c], row, text);
        if (v.len == 0)
            continue;
        Telescope__Router__V1__Field *f = TEL_ARENA_NEW(&a->arena, Telescope__Router__V1__Field);
        telescope__router__v1__field__init(f);
        f->name = (char *)(uintptr_t)tel_arena_copy(&a->arena, block->columns[c].name).ptr;
        f->value = (ProtobufCBinaryData){.len = v.len, .data = (uint8_t *)(uintptr_t)v.ptr};
        fields[n++] = f;
        *bytes += v.len + block->columns[c].name.len + 8;
    }
    if (n == 0)
        return NULL;
    Telescope__Router__V1__Row *r = TEL_ARENA_NEW(&a->arena, Telescope__Router__V1__Row);
    telescope__router__v1__row__init(r);
    r->n_fields = n;
    r->fields = fields;
    return r;
}

static tel_code answer_sink(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct answer *a = ctx;
    tel_code rc = TEL_OK;
    for (size_t row = 0; row < block->rows && rc == TEL_OK;) {
        tel_arena_reset(&a->arena);
        Telescope__Router__V1__Row **rows =
            TEL_ARENA_ARRAY(&a->arena, Telescope__Router__V1__Row *, block->rows - row);
        size_t n = 0, bytes = 0;
        for (; row < block->rows && bytes < ROWS_BYTES; row++)
            if ((rows[n] = make_row(a, block, row, &bytes)))
                n++;
        if (n > 0)
            rc = send_rows(a, rows, n, err);
    }
    return rc;
}

static bool call_gone(void *ctx)
{
    return tel_rpc_call_cancelled(ctx);
}

static tel_code send_end(struct answer *a, const struct query *q, struct tel_error *err)
{
    Telescope__Router__V1__SearchEnd end = TELESCOPE__ROUTER__V1__SEARCH_END__INIT;
    size_t n = query_missing(q);
    end.missing = TEL_ARENA_ARRAY(&a->arena, char *, n);
    end.n_missing = n;
    for (size_t i = 0; i < n; i++)
        end.missing[i] = (char *)(uintptr_t)query_missing_text(q, i);
    end.rows = a->rows;
    end.lag_ms = query_totals(q)->lag_ms;
    struct tel_buf cursor = {0};
    struct cursor next;
    if (query_next_page(q, &next))
        cursor_print(&next, a->binding, &cursor);
    end.cursor = (char *)(uintptr_t)tel_buf_cstr(&cursor);
    struct tel_buf explained = {0};
    if (a->explain)
        explain_query(q, &explained);
    end.explain = (char *)(uintptr_t)tel_buf_cstr(&explained);
    search_response res = TELESCOPE__ROUTER__V1__SEARCH_RESPONSE__INIT;
    res.kind_case = TELESCOPE__ROUTER__V1__SEARCH_RESPONSE__KIND_END;
    res.end = &end;
    tel_code rc = tel_rpc_send_wait(a->call, &res.base);
    tel_buf_free(&cursor);
    tel_buf_free(&explained);
    return rc == TEL_OK ? rc : tel_error_set(err, rc, "%s", tel_code_text(rc));
}

static tel_code read_page(const search_request *req, struct answer *a, struct query_params *p,
                          struct tel_error *err)
{
    if (!req->page)
        return req->cursor[0] ? tel_error_set(err, TEL_ERR_INVALID, "a cursor goes with page")
                              : TEL_OK;
    p->page = true;
    p->limit = p->limit ? p->limit : CURSOR_PAGE_ROWS;
    p->refuse_partial = !req->partial_pages;
    const struct tel_span parts[] = {
        p->tenant, p->text, tel_arena_printf(&a->page_arena, "%lld", (long long)p->start_ns),
        tel_arena_printf(&a->page_arena, "%lld", (long long)p->end_ns)};
    a->binding = cursor_binding(parts, TEL_ARRAY_LEN(parts));
    if (!req->cursor[0])
        return TEL_OK;
    tel_code rc = cursor_parse(tel_span_cstr(req->cursor), a->binding, &a->page_arena, &a->cursor,
                               err);
    if (rc != TEL_OK)
        return rc;
    p->cursor = &a->cursor;
    p->now_ns = a->cursor.now_ns;
    return TEL_OK;
}

static tel_code run_search(struct query_service *s, const search_request *req, struct answer *a,
                           struct tel_error *err)
{
    if (!tenant_legal(req->tenant))
        return tel_error_set(err, TEL_ERR_INVALID,
                             "a tenant is letters, digits, '-', '_', '.', ':'");
    struct tel_span tenant = req->tenant[0] ? tel_span_cstr(req->tenant) : TEL_SPAN("default");
    tel_code may = judge(s, a->call, tenant, USERS_READ, err);
    if (may != TEL_OK)
        return may;
    int64_t left_ms = tel_rpc_call_ms_left(a->call);
    struct query_params p = {
        .tenant = tenant,
        .text = tel_span_cstr(req->query),
        .now_ns = tel_wall_ns(s->clock),
        .start_ns = req->start_ns,
        .end_ns = req->end_ns,
        .limit = req->limit,
        .refuse_partial = req->refuse_partial,
        .no_cache = req->no_cache,
        .sink_waits = true,
        /* Our end comes before the client's: it hears what is missing, not that time is up. */
        .timeout_ms = left_ms == INT64_MAX ? 0 : TEL_MAX(left_ms - TEL_MIN(left_ms / 20, 50), 1),
        .explain = req->explain ? QUERY_EXPLAIN_JSON : QUERY_EXPLAIN_NONE,
        .gone = call_gone,
        .gone_ctx = a->call,
    };
    a->explain = req->explain;
    struct query *q;
    tel_code rc = read_page(req, a, &p, err);
    if (rc == TEL_OK)
        rc = query_open(s->router, &p, answer_sink, a, &q, err);
    if (rc != TEL_OK)
        return rc;
    bool more = true;
    while (rc == TEL_OK && more)
        rc = query_step(q, STEP_MS, &more, err);
    if (rc == TEL_OK)
        rc = send_end(a, q, err);
    query_close(q);
    return rc;
}

static void handle_search(Telescope__Router__V1__Query_Service *self, const search_request *req,
                          Telescope__Router__V1__SearchResponse_Closure reply, void *call)
{
    (void)reply;
    struct answer a = {.call = call};
    struct tel_error err;
    tel_code rc = run_search((struct query_service *)self, req, &a, &err);
    tel_arena_free(&a.arena);
    tel_arena_free(&a.page_arena);
    if (rc == TEL_OK)
        tel_rpc_finish_ok(call);
    else
        tel_rpc_finish_error(call, &err);
}

static void handle_status(Telescope__Router__V1__Query_Service *self,
                          const Telescope__Router__V1__StatusRequest *req,
                          Telescope__Router__V1__StatusResponse_Closure reply, void *call)
{
    (void)req;
    struct query_service *s = (struct query_service *)self;
    struct tel_error err;
    if (judge(s, call, (struct tel_span){0}, USERS_ANY, &err) != TEL_OK) {
        tel_rpc_finish_error(call, &err);
        return;
    }
    int64_t left_ms = tel_rpc_call_ms_left(call);
    Telescope__Router__V1__StatusResponse *res =
        router_status(s->router, TEL_MAX(TEL_MIN(left_ms / 2, STATUS_MS), 1));
    reply(res, call);
    protobuf_c_message_free_unpacked(&res->base, NULL);
}

struct query_service *query_service_new(struct router *router, struct users *users,
                                        const struct tel_clock *clock)
{
    struct query_service *s = TEL_NEW(struct query_service);
    telescope__router__v1__query__init(&s->base, NULL);
    s->base.search = handle_search;
    s->base.status = handle_status;
    s->router = router;
    s->users = users;
    s->clock = clock ? clock : tel_clock_system();
    return s;
}

tel_code query_service_add(struct query_service *service, struct tel_rpc_server *server,
                           struct tel_error *err)
{
    return tel_rpc_server_add(server, &service->base.base,
                              tel_span_make(tel_schema_router_pb, tel_schema_router_pb_len), err);
}

void query_service_free(struct query_service *service)
{
    free(service);
}

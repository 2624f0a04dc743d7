/* Internal to the HTTP face: arguments, and what its endpoints share. */
#ifndef ROUTER_SELECT_INTERNAL_H
#define ROUTER_SELECT_INTERNAL_H

#include "router/query.h"
#include "router/select.h"

struct select {
    struct router *router;
    const struct tel_clock *clock;
};

/* ---- arguments (select_args.c): each answers with 400 itself and returns false ----------------
 */

struct select_args {
    struct query_params params;
    struct cursor cursor; /* of a page that is not the first; params points to it */
    uint64_t binding;     /* what the next page's cursor is bound to */
    struct tel_query *tree; /* of the query as it was given */
};

/* Tenant, query, start, end, timeout, allow_partial_response; limit and offset too if `paging`.
 * Reads and parses the query; what it makes lives in the request's arena (select_args_done). */
bool select_args_read(struct select *s, struct tel_http_request *req, bool paging,
                      struct select_args *ret);
void select_args_done(struct select_args *args);
/* cursor=, which makes the query one of pages; behind select_args_read. */
bool select_args_page(struct tel_http_request *req, struct select_args *args);
bool select_arg_uint(struct tel_http_request *req, const char *name, uint64_t def, uint64_t *ret);
bool select_arg_duration(struct tel_http_request *req, const char *name, int64_t def_ns,
                         int64_t *ret_ns);
bool select_arg_time(struct tel_http_request *req, const char *name, int64_t now_ns,
                     int64_t *ret_ns); /* now if absent */
/* The moment that is given; *ret_ns, which counts as now, stays if none is. */
bool select_arg_at(struct tel_http_request *req, const char *name, int64_t *ret_ns);
bool select_arg_flag(struct tel_http_request *req, const char *name); /* there, and not 0 or false */
bool select_arg_required(struct tel_http_request *req, const char *name, struct tel_span *ret);

/* extra_filters and extra_stream_filters (select_extra.c): into params.extra_filter. */
bool select_extra_read(struct tel_http_request *req, struct query_params *params);

/* The events that a query is about: its filter and the leading pipes that work row by row and hide no
 * field. What counts streams, fields, values and hits counts those. *ret shares all with *tree. */
void select_events(const struct tel_query *tree, struct tel_query *ret);
/* The query with pipes behind it: "<query> | <formatted>", in the request's arena. */
struct tel_span select_query_with(struct tel_http_request *req, const struct tel_query *tree,
                                  const char *fmt, ...) TEL_PRINTF(3, 4);

/* ---- running (select_run.c) --------------------------------------------------------------------
 */

/* Answers with the status and text of an error. */
void select_fail(struct tel_http_request *req, const struct tel_error *err);
/* X-Telescope-Partial and -Lag-Ms, before the reply. */
void select_headers(struct tel_http_request *req, const struct query *q);
/* explain=: runs the query, keeps no row, and answers with what it did. */
void select_explain(struct select *s, struct tel_http_request *req,
                    const struct query_params *params);
/* Runs a query whose whole answer is needed; the sink keeps what it wants. Answers and returns
 * false on an error, and if it was to be explained; sets the headers otherwise. */
bool select_run(struct select *s, struct tel_http_request *req, const struct query_params *params,
                tel_sink_fn sink, void *sink_ctx);

/* Pairs of a value and a number, as most endpoints answer. */
struct select_hit {
    struct tel_span value;
    uint64_t hits;
};
struct select_hits {
    struct tel_arena *arena;
    struct tel_span field; /* the column that holds the values; empty: "value" */
    bool with_empty;       /* the answer counts rows without the field, too */
    struct select_hit *items;
    size_t len, cap;
};
void select_hits_add(struct select_hits *hits, struct tel_span value, uint64_t n); /* copies */
/* A sink that takes the columns `field` and "hits". */
tel_code select_hits_sink(void *ctx, const struct tel_block *block, struct tel_error *err);
/* Most hits first, ties by value. */
void select_hits_sort(struct select_hits *hits);
/* {"values":[{"value":...,"hits":...}]}, the first `limit` (0: all). */
void select_hits_reply(struct tel_http_request *req, struct select_hits *hits, uint64_t limit);

/* ---- endpoints ---------------------------------------------------------------------------------
 */

void select_query_handler(void *ctx, struct tel_http_request *req);
void select_patterns_handler(void *ctx, struct tel_http_request *req);
void select_tail_handler(void *ctx, struct tel_http_request *req);
void select_hits_handler(void *ctx, struct tel_http_request *req);
void select_facets_handler(void *ctx, struct tel_http_request *req);
void select_stats_handler(void *ctx, struct tel_http_request *req);
void select_stats_range_handler(void *ctx, struct tel_http_request *req);
void select_streams_handler(void *ctx, struct tel_http_request *req);
void select_stream_ids_handler(void *ctx, struct tel_http_request *req);
void select_stream_field_names_handler(void *ctx, struct tel_http_request *req);
void select_stream_field_values_handler(void *ctx, struct tel_http_request *req);
void select_field_names_handler(void *ctx, struct tel_http_request *req);
void select_field_values_handler(void *ctx, struct tel_http_request *req);
void select_status_handler(void *ctx, struct tel_http_request *req);
void select_page_handler(void *ctx, struct tel_http_request *req);

#endif

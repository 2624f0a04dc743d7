/*
 * One query on the router: parse, plan, scatter, run the pipes that the shards did not, hand the
 * answer to a sink. Driven by the caller, in steps, so that an answer can be pulled as fast as its
 * client reads. Belongs to one thread.
 *
 *     query_open(router, &params, sink, ctx, &q, err)
 *     while (query_step(q, 50, &more, err) == TEL_OK && more)
 *         ... the sink may have got rows ...
 *     query_missing(q): what the answer lacks
 *     query_close(q)
 *
 * Every wait has an end: the deadline of the query, which shards get a little sooner so that there
 * is time to finish with what they said.
 */
#ifndef ROUTER_QUERY_H
#define ROUTER_QUERY_H

#include "common/logsql/pipe.h"
#include "router/router.h"

enum query_explain { QUERY_EXPLAIN_NONE, QUERY_EXPLAIN_JSON, QUERY_EXPLAIN_TEXT };

struct query_params {
    struct tel_span tenant, text;
    /* A filter that everything must match besides, in subqueries and joins too; empty: none.
     * Parses. */
    struct tel_span extra_filter;
    int64_t now_ns;           /* what relative times refer to */
    int64_t start_ns, end_ns; /* start <= time < end; both 0: no bounds */
    uint64_t limit, offset;   /* 0: none */
    bool page;                /* newest first, and query_next_page tells where the next one begins */
    const struct cursor *cursor; /* of this page; NULL: the first one. now, start and end are its */
    int64_t timeout_ms;       /* 0: the router's */
    bool sink_waits;          /* for a reader, perhaps: others compute meanwhile */
    bool no_cache;            /* every shard searches, whatever was kept of earlier */
    bool refuse_partial;      /* options(allow_partial_response=...) of the query goes first */
    enum query_explain explain;   /* keep what explain_query tells, and how it will be told */
    /* Has the client gone? Asked every 50 ms or so. May be NULL. */
    bool (*gone)(void *ctx);
    void *gone_ctx;
};

struct query;

/* Parses and plans; waits for a turn. The text is copied. Fails with TEL_ERR_PARSE (the text points
 * at the place), TEL_ERR_AGAIN (too busy), or what a subquery failed with. */
TEL_MUST_USE tel_code query_open(struct router *router, const struct query_params *params,
                                 tel_sink_fn sink, void *sink_ctx, struct query **ret,
                                 struct tel_error *err);

/* Works until the sink has got something, or timeout_ms have passed. *ret_more false: the answer
 * has been given in full, as far as it can be had. Fails with TEL_ERR_UNAVAILABLE or
 * TEL_ERR_TIMEOUT when no partition answered, or some did not and a partial answer is refused;
 * TEL_ERR_LIMIT; TEL_ERR_CANCELLED when the client has gone. */
TEL_MUST_USE tel_code query_step(struct query *q, int timeout_ms, bool *ret_more,
                                 struct tel_error *err);
/* All steps. */
TEL_MUST_USE tel_code query_run(struct query *q, struct tel_error *err);

/* Known when the shards have ended (query_gathered): what is missing. */
bool query_gathered(const struct query *q);
size_t query_missing(const struct query *q);
const char *query_missing_text(const struct query *q, size_t i);
/* All of it, "; " between. */
void query_missing_join(const struct query *q, struct tel_buf *out);
const struct fanout_totals *query_totals(const struct query *q);
const struct tel_query *query_tree(const struct query *q);

/* Of a page whose last step was made: false if there is nothing behind it. What *ret points to
 * lives as long as the query and its params. */
bool query_next_page(const struct query *q, struct cursor *ret);

/* What happened when, monotonic; 0: it has not. For explain. */
struct query_story {
    const struct query_params *params;
    struct tel_span text; /* as the shards got it */
    const struct fanout *fanout;
    bool newest, streams;
    int64_t begun_ns, parsed_ns, admitted_ns, planned_ns, gathered_ns, ended_ns;
    uint64_t rows;          /* that the sink got */
    size_t memory_used;     /* by the pipes here */
    struct tel_span nested; /* what explain says of subqueries, joins and unions */
};
void query_story(const struct query *q, struct query_story *ret);

void query_close(struct query *q); /* cancels what runs; NULL is fine */

#endif

/*
 * A search over some partitions: takes a view of each, cuts it into pieces (a segment, a chunk of
 * memory), and lets threads take them, newest first, until none is left.
 *
 *     piece ─select rows─> block ─pipes (a chain a thread)─> sink          any order: streams
 *                                                        └─> newest N      ordered: kept, sent last
 *
 * A chain that ends in a partial state hands its state on at the end; several of them are as good as
 * one to the router, which merges the states of many shards anyway.
 */
#ifndef SHARD_QUERY_SEARCH_H
#define SHARD_QUERY_SEARCH_H

#include "common/logsql/fields.h"
#include "common/logsql/pipe.h"
#include "common/base/buf.h"
#include "common/logsql/memory.h"
#include "common/logsql/tree.h"
#include "common/sys/lanes.h"
#include "common/sys/thread.h"
#include "shard/ingest/partition.h"
#include "shard/query/cache.h"
#include "shard/query/pool.h"
#include "shard/query/residents.h"
#include "shard/query/results.h"
#include "shard/query/scratch.h"
#include "shard/query/tally.h"
#include "shard/segment/probe.h"
#include "shard/query/top.h"
#include "shard/service.h"

/* What a search finds of the server around it. */
struct search_env {
    struct partition *const *partitions;
    size_t partition_count;
    struct cache *cache;
    struct residents *residents; /* NULL: none are kept */
    struct results *results; /* NULL: none are kept */
    struct scratch *scratch; /* NULL: no memory is kept */
    struct pool *pool;
    unsigned helpers; /* at most, of one search */
    struct tel_memory_pool *pool_memory; /* what all searches may keep; NULL: not bounded */
    struct tel_lanes *lanes;             /* for searches that take long; NULL: all run at once */
    uint64_t epoch[2]; /* random: tells this process from every other, see generation.c */
    uint64_t memory_limit;
};

/* Which rows are enough: all, or the N at one end of time. */
enum search_edge { SEARCH_ALL, SEARCH_NEWEST, SEARCH_OLDEST };

struct search_partition {
    uint32_t id;
    bool held;
    struct partition_view view;
    struct tel_buf missing; /* under the search's lock */
};

struct search_piece {
    struct search_partition *partition;
    struct store_segment *segment; /* or */
    struct chunk *chunk;
    int64_t min_time_ns, max_time_ns;
};

/* What explain asks for beyond the counters; of the whole search, or of a thread's part. */
struct search_explain {
    struct segment_explain segments;
    struct store_explain store;
    uint64_t kept, chunks, readers_open, readers_opened, outlines;
    int64_t begun_ns, scan_ns, scanned_ns; /* monotonic: the start, when looking began and ended */
    uint32_t threads;
};

struct search {
    struct pool_job job;
    const struct search_env *env;
    const Telescope__Shard__V1__SearchRequest *request;
    const struct shard_sink *sink;

    struct tel_arena arena; /* the query and its plan */
    struct tel_query *query;
    const struct tel_filter *filter; /* the query's, without what start_ns and end_ns say */
    struct tel_fields fields; /* that the pipes need */
    struct tel_span tenant;
    int64_t start_ns, end_ns;
    uint64_t memory_limit;
    struct tel_memory_account memory; /* of all that it keeps */
    _Atomic int64_t worked_ns;        /* CPU so far */
    bool counting; /* rows need not be made: their number will do */
    bool grouping; /* rows alike in these fields may come as one, with their number */
    struct segment_grouping group;
    const struct tel_pattern *excerpt; /* all that pipes see of bodies; NULL: they see them whole */
    bool any_order;                    /* the pipes do not mind in which order rows come, nor their keys */
    enum search_edge edge;
    uint64_t edge_rows; /* N */
    bool has_before;    /* only rows with smaller keys: */
    struct tel_row_key before;
    bool outlining;     /* outlines are asked first, before readers are opened (outline.c) */
    bool keeps_rows;    /* no pipe before drops a row: the newest N of a piece are enough */

    bool unchanged;      /* since the generation that the request names: nothing is searched */
    bool has_generation; /* what the answer depends on has a name: */
    uint64_t generation[2];

    _Atomic bool reusing; /* results of single segments are kept (reuse.c) */
    struct tel_hash128 query_id;

    struct search_partition *partitions;
    size_t partition_count;
    TEL_VEC(struct search_piece) pieces; /* newest first */
    _Atomic size_t next_piece;
    _Atomic bool over; /* an error, or nothing more is needed */

    struct tel_mutex lock; /* what follows, and the sink */
    size_t top_taken;      /* from memory, for: */
    struct top top;        /* with an edge: the rows of an ordered search, else only their keys */
    bool ordered;          /* the newest rows are the answer, in order */
    tel_code code;
    struct tel_error error;
    struct segment_counters counters;
    uint64_t segments, pruned, cpu_ns;
    struct search_explain *explain; /* NULL: not asked for */
};

#define KNOWN_STREAMS 128u

struct known_stream {
    uint64_t hash;
    struct segment_stream *stream; /* in the piece's arena */
};

/* A thread in a search. */
struct searcher {
    struct search *search;
    struct tel_arena arena; /* of the piece at hand */
    struct tel_exec exec;
    struct tel_chain *chain;
    bool chain_failed; /* the error is of the pipes or the sink, not of the piece */
    struct segment_counters counters;
    uint64_t segments, pruned;
    struct segment_probe *probe;   /* of the filter; NULL: outlines are not asked */
    struct tel_arena probe_arena;
    struct tally tally;            /* rows that outlines have counted */
    struct cached_reader *taken;   /* of the piece at hand, for its scan */
    struct search_explain explain; /* counters.explain points into it, or nobody asked */
    struct known_stream streams[KNOWN_STREAMS]; /* of the chunk at hand */
};

TEL_MUST_USE tel_code search_run(const struct search_env *env,
                                 const Telescope__Shard__V1__SearchRequest *request,
                                 const struct shard_sink *sink,
                                 Telescope__Shard__V1__SearchEnd **ret_end, struct tel_error *err);

/* scan.c: one piece, its rows pushed into the thread's chain. */
TEL_MUST_USE tel_code search_scan(struct searcher *searcher, const struct search_piece *piece,
                                  struct tel_error *err);
/* The times that can still matter: of the query, and of the newest or oldest rows found so far. */
struct search_range {
    int64_t from_ns, end_ns;
};
struct search_range search_range_left(struct search *search);
/* outline.c: settles a segment by its outline, if that is enough: no row can match, or its rows are
 * counted, to be pushed by search_outline_end. Else a reader may be left in searcher->taken. */
TEL_MUST_USE tel_code search_outline(struct searcher *searcher, const struct search_piece *piece,
                                     bool *ret_settled, struct tel_error *err);
void search_outline_begin(struct searcher *searcher);
TEL_MUST_USE tel_code search_outline_end(struct searcher *searcher, struct tel_error *err);
void search_outline_done(struct searcher *searcher);
/* reuse.c: the same, from what was kept of an earlier search, or keeping it. */
TEL_MUST_USE tel_code search_scan_reusing(struct searcher *searcher,
                                          const struct search_piece *piece, struct tel_error *err);
/* Does every row match the filter, but for the time range? */
bool reuse_takes_all(const struct tel_filter *filter);
void reuse_plan(struct search *search, size_t split, bool partial);
/* generation.c: names what the search would look at, once the partitions have been viewed. False: what
 * the query gives does not depend on that alone, or something is missing. */
bool generation_make(struct search *search);
bool generation_is(const struct search *search, const ProtobufCBinaryData *known);
/* explain.c: adds a thread's part; what the search ended with, as a message. */
void search_explain_add(struct search_explain *explain, const struct search_explain *part);
Telescope__Shard__V1__SearchExplain *search_explain_message(const struct search *search);
/* A block that came out of the pipes. ctx is the search. */
TEL_MUST_USE tel_code search_take_block(void *ctx, const struct tel_block *block,
                                        struct tel_error *err);
/* May the search end? TEL_OK, TEL_ERR_CANCELLED, TEL_ERR_TIMEOUT. ctx is the search. */
tel_code search_stop(void *ctx);

#endif

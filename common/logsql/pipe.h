/*
 * Pipes: what happens to the rows that a filter selected. A chain runs some of a query's pipes:
 * blocks are pushed in at its head, through one stage per pipe, and come out at the sink.
 *
 *     push(block) -> [extract] -> [filter] -> [stats] ...          sink(block)
 *     finish()                                  '-> [sort] -> [limit] ->
 *
 * Where a pipe runs is its place, in one table (pipes.def):
 *   SHARD    row by row, on the shards;
 *   PARTIAL  the shard makes a partial state, handed on as ordinary blocks (the columns that group,
 *            and encoded states), and the router's chain takes those in and finishes;
 *   ROUTER   needs all rows.
 * The shards run the leading SHARD pipes and the PARTIAL one behind them, if there is one
 * (tel_query_split); the router runs that one again, importing, and the rest.
 *
 * A chain belongs to one thread at a time. Blocks are valid only during a push; stages copy what
 * they keep and charge it to the query's memory.
 */
#ifndef TEL_LOGSQL_PIPE_H
#define TEL_LOGSQL_PIPE_H

#include "common/logsql/block.h"
#include "common/logsql/fields.h"
#include "common/logsql/tree.h"

enum tel_pipe_place { TEL_PLACE_SHARD, TEL_PLACE_PARTIAL, TEL_PLACE_ROUTER };

/* ---- running a query ----------------------------------------------------------------------------
 */

enum tel_exec_mode {
    TEL_EXEC_FULL,   /* all pipes, in one place */
    TEL_EXEC_SHARD,  /* the leading pipes; the last exports its state if it is PARTIAL */
    TEL_EXEC_ROUTER, /* the rest; the first imports states if it is PARTIAL */
};

typedef tel_code (*tel_sink_fn)(void *ctx, const struct tel_block *block, struct tel_error *err);

/* What a chain may use; belongs to whoever opens it and outlives it. */
struct tel_exec {
    enum tel_exec_mode mode;
    int64_t start_ns, end_ns; /* the query's time range, for rates: [start, end); both 0: unknown */
    size_t memory_limit;      /* bytes that the stages may keep; 0: TEL_EXEC_MEMORY_DEFAULT */
    size_t memory_used;       /* kept by tel_exec_charge */
    struct tel_memory_account *account; /* of the query, in what all may keep; NULL: there is none */
    size_t memory_taken;                /* from it, by this exec */
    /* Asked now and then; anything but TEL_OK (CANCELLED, TIMEOUT) ends the query with it. */
    tel_code (*stop)(void *ctx);
    void *stop_ctx;
    /* Runs another query (join, union, stream_context, subqueries) and gives its rows to sink.
     * NULL: such pipes are refused. */
    tel_code (*run)(void *ctx, const struct tel_query *query, tel_sink_fn sink, void *sink_ctx,
                    struct tel_error *err);
    void *run_ctx;
    uint64_t seed; /* of `sample` and rand(); 0: the system's */
};

#define TEL_EXEC_MEMORY_DEFAULT (512u << 20)

/* Charges bytes that are kept until the query ends. TEL_ERR_LIMIT: more than memory_limit (err is not
 * set), or more than what all queries may keep, and others keep less (err says so). */
TEL_MUST_USE tel_code tel_exec_charge(struct tel_exec *exec, size_t bytes, bool *ret_own_limit,
                                      struct tel_error *err);

/* How many leading pipes run on the shards; *ret_partial (may be NULL): the last of them hands on a
 * partial state. */
size_t tel_query_split(const struct tel_query *query, bool *ret_partial);
/* May rows be shown as they come (no pipe needs them all)? As `tail` wants. */
bool tel_query_is_streaming(const struct tel_query *query);
/* Does some pipe or the order of rows depend on having all, or may the newest N rows do? True for
 * queries whose pipes are all row by row. */
bool tel_query_is_row_local(const struct tel_query *query);

/* The columns that the pipes from `first` on need of the rows that come in, or all that the answer
 * shows. The filter's own fields are not among them (tel_filter_fields). */
void tel_query_needed_fields(const struct tel_query *query, size_t first, struct tel_fields *ret);

/* If the query needs but the first or last rows by time: `sort by (_time) [desc] limit N` or
 * `first`/`last` behind row-local pipes. *ret_count is how many, *ret_newest from which end. Shards
 * may stop early then. */
bool tel_query_time_limit(const struct tel_query *query, uint64_t *ret_count, bool *ret_newest);

/* The pattern by which alone the query looks at the bodies of the rows that its filter leaves: its first
 * pipe takes fields out of them, and nothing else needs _msg. What tel_pattern_match gives the same
 * result for may then stand in for a body. NULL: it looks at whole bodies. */
struct tel_pattern;
const struct tel_pattern *tel_query_excerpt(const struct tel_query *query);
/* Is the state that the first `count` pipes come to the same in whatever order rows are pushed, and
 * without their keys? (But for the rounding of sums.) */
bool tel_query_any_order(const struct tel_query *query, size_t count);

/* Runs the subqueries of in(...), contains_any(...) and contains_all(...) wherever they stand, in
 * pipes too, and puts their values in their place; counts what _score needs (score.h). Before the
 * tree is shared. tel_query_has_subqueries: is there any such thing left? */
TEL_MUST_USE tel_code tel_query_resolve(struct tel_query *query, struct tel_exec *exec,
                                        struct tel_error *err);
bool tel_query_has_subqueries(const struct tel_query *query);

struct tel_chain;

/* Opens the pipes that exec->mode names. */
TEL_MUST_USE tel_code tel_chain_open(const struct tel_query *query, struct tel_exec *exec,
                                     tel_sink_fn sink, void *sink_ctx, struct tel_chain **ret,
                                     struct tel_error *err);
TEL_MUST_USE tel_code tel_chain_push(struct tel_chain *chain, const struct tel_block *block,
                                     struct tel_error *err);
/* Takes in a state that another shard's chain of the same pipes exported: this one's partial pipe goes
 * on from both. Only for chains that export. */
TEL_MUST_USE tel_code tel_chain_import(struct tel_chain *chain, const struct tel_block *state,
                                       struct tel_error *err);
/* No more rows would change the answer (a limit is reached): pushing may end. */
bool tel_chain_done(const struct tel_chain *chain);
/* Does its first pipe want less of some fields than it said at first (tel_chain_wants)? */
bool tel_chain_is_choosy(const struct tel_chain *chain);
enum tel_want tel_chain_wants(const struct tel_chain *chain, struct tel_span field);
TEL_MUST_USE tel_code tel_chain_finish(struct tel_chain *chain, struct tel_error *err);
void tel_chain_close(struct tel_chain *chain);

/* ---- a kind of pipe
 * ------------------------------------------------------------------------------ */

struct tel_parser;
struct tel_stage;
struct tel_pipe;
typedef tel_code (*tel_filter_visitor)(void *ctx, struct tel_filter **filter,
                                       struct tel_error *err);

/* What a pipe that only counts rows looks at. */
struct tel_bucket;
struct tel_pipe_counting {
    /* It needs no more of _time than that any time of a row's bucket stands for the row's. NULL: its
     * needed fields say whether it needs _time. */
    const struct tel_bucket *bucket;
};

/* Of a field's column: none, in which rows it has a value (where all have one, its values may be NULL),
 * its values. */
enum tel_want { TEL_WANT_NOTHING, TEL_WANT_PRESENCE, TEL_WANT_VALUES };

struct tel_pipe_ops {
    const char *name; /* as it is printed */
    /* Behind the pipe's name; makes a struct that starts with struct tel_pipe. */
    tel_code (*parse)(struct tel_parser *p, struct tel_pipe **ret);
    /* With the name. */
    void (*print)(const struct tel_pipe *pipe, struct tel_buf *out);
    /* fields: what is needed of the pipe's output, changed to what it needs of its input. NULL: the
     * same. */
    void (*needed)(const struct tel_pipe *pipe, struct tel_fields *fields);
    /* Calls the visitor with each filter (of `if`, `filter`, ...). NULL: none. */
    tel_code (*filters)(struct tel_pipe *pipe, tel_filter_visitor visit, void *ctx,
                        struct tel_error *err);

    /* See tel_pipe_counts. NULL: no. */
    bool (*counts)(const struct tel_pipe *pipe, struct tel_pipe_counting *ret);

    /* See tel_query_excerpt: the pattern, if the pipe looks at _msg by it alone. NULL: it does not. */
    const struct tel_pattern *(*excerpt)(const struct tel_pipe *pipe);
    /* See tel_query_any_order, of a pipe that gathers rows. NULL: those that count do not mind. */
    bool (*any_order)(const struct tel_pipe *pipe);

    /* What it wants of a field from now on, if that is less than `needed` says. NULL: all the same. */
    enum tel_want (*wants)(const struct tel_stage *stage, struct tel_span field);

    size_t state_size; /* of stage->state, zeroed before open */
    tel_code (*open)(struct tel_stage *stage, struct tel_error *err); /* may be NULL */
    tel_code (*push)(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err);
    tel_code (*finish)(struct tel_stage *stage, struct tel_error *err); /* may be NULL */
    void (*close)(struct tel_stage *stage);                             /* may be NULL */
};

struct tel_pipe {
    const struct tel_pipe_ops *ops;
    uint32_t pos; /* offset in the query's text */
};

/* A pipe that runs. */
struct tel_stage {
    const struct tel_pipe *pipe;
    const struct tel_query *query;
    struct tel_exec *exec;
    void *state;
    struct tel_arena scratch; /* reset before every push and finish */
    struct tel_stage *next;   /* NULL: the sink is next */
    tel_sink_fn sink;
    void *sink_ctx;
    bool exporting, importing; /* partial states go out, come in */
    bool done;                 /* wants no more rows */
};

/* Hands a block to the next stage or the sink. */
TEL_MUST_USE tel_code tel_stage_emit(struct tel_stage *stage, const struct tel_block *block,
                                     struct tel_error *err);
/* Charges bytes that a stage keeps until the query ends; TEL_ERR_LIMIT names the pipe and the
 * figure. */
TEL_MUST_USE tel_code tel_stage_charge(struct tel_stage *stage, size_t bytes,
                                       struct tel_error *err);
/* Has the query been stopped? Long loops ask. */
TEL_MUST_USE tel_code tel_stage_stopped(struct tel_stage *stage, struct tel_error *err);

/* Are rows that are alike in all fields that the pipe needs as good as one row with their number
 * (tel_block.hits)? */
bool tel_pipe_counts(const struct tel_pipe *pipe, struct tel_pipe_counting *ret);
enum tel_pipe_place tel_pipe_place(const struct tel_pipe *pipe);
void tel_pipe_print(struct tel_buf *out, const struct tel_pipe *pipe);
bool tel_pipe_is_name(struct tel_span word); /* of a pipe or a stats function */
/* The same without our own additions, which are words where LogsQL has no such name. */
bool tel_pipe_is_reserved(struct tel_span word);
/* The one field that `fields` and `uniq` pipes leave, as subqueries need it. */
bool tel_pipe_single_field(const struct tel_pipe *pipe, struct tel_span *ret);

/* The field that a format pipe makes; false: it is another pipe. */
bool tel_format_result(const struct tel_pipe *pipe, struct tel_span *ret);

#endif

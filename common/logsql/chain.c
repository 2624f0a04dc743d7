/* See pipe.h: chains of stages. */
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/logsql/memory.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/score.h"

struct tel_chain {
    const struct tel_query *query;
    struct tel_exec *exec;
    struct tel_stage *stages;
    size_t count;
    tel_sink_fn sink;
    void *sink_ctx;
    struct tel_arena scratch;
    bool finished;
};

static size_t memory_limit(const struct tel_exec *exec)
{
    return exec->memory_limit ? exec->memory_limit : TEL_EXEC_MEMORY_DEFAULT;
}

/* Taken from what all queries may keep in pieces of this size, so that threads seldom meet. */
#define PIECE_BYTES (1u << 20)

tel_code tel_exec_charge(struct tel_exec *exec, size_t bytes, bool *ret_own_limit,
                         struct tel_error *err)
{
    exec->memory_used += bytes;
    *ret_own_limit = exec->memory_used > memory_limit(exec);
    if (*ret_own_limit)
        return TEL_ERR_LIMIT;
    if (!exec->account || exec->memory_used <= exec->memory_taken + TEL_MEMORY_FREE_BYTES)
        return TEL_OK;
    size_t more = exec->memory_used - exec->memory_taken - TEL_MEMORY_FREE_BYTES;
    more = TEL_MAX(more, PIECE_BYTES);
    tel_code rc = tel_memory_take(exec->account, more, exec->stop, exec->stop_ctx, err);
    if (rc == TEL_OK)
        exec->memory_taken += more;
    return rc;
}

tel_code tel_stage_charge(struct tel_stage *stage, size_t bytes, struct tel_error *err)
{
    struct tel_exec *exec = stage->exec;
    bool own;
    tel_code charged = tel_exec_charge(exec, bytes, &own, err);
    if (charged == TEL_OK || !own)
        return charged;
    struct tel_buf text = {0};
    tel_pipe_print(&text, stage->pipe);
    tel_code rc = tel_error_set(err, TEL_ERR_LIMIT,
                                "the pipe [%.*s] needs more than the query's memory of %zu MiB",
                                (int)TEL_MIN(text.len, 120), text.ptr, memory_limit(exec) >> 20);
    tel_buf_free(&text);
    return rc;
}

static tel_code stopped(struct tel_exec *exec, struct tel_error *err)
{
    tel_code rc = exec->stop ? exec->stop(exec->stop_ctx) : TEL_OK;
    if (rc != TEL_OK)
        return tel_error_set(err, rc, "the query was stopped: %s", tel_code_text(rc));
    return exec->account ? tel_memory_check(exec->account, err) : TEL_OK;
}

tel_code tel_stage_stopped(struct tel_stage *stage, struct tel_error *err)
{
    return stopped(stage->exec, err);
}

static tel_code push_stage(struct tel_stage *stage, const struct tel_block *block,
                           struct tel_error *err)
{
    if (stage->done || block->rows == 0)
        return TEL_OK;
    tel_arena_reset(&stage->scratch);
    return stage->pipe->ops->push(stage, block, err);
}

tel_code tel_stage_emit(struct tel_stage *stage, const struct tel_block *block,
                        struct tel_error *err)
{
    if (block->rows == 0)
        return TEL_OK;
    return stage->next ? push_stage(stage->next, block, err)
                       : stage->sink(stage->sink_ctx, block, err);
}

static void chain_range(const struct tel_query *query, enum tel_exec_mode mode, size_t *ret_first,
                        size_t *ret_count, bool *ret_partial)
{
    bool partial;
    size_t split = tel_query_split(query, &partial);
    *ret_first = 0;
    *ret_count = query->pipe_count;
    *ret_partial = partial && mode != TEL_EXEC_FULL;
    if (mode == TEL_EXEC_SHARD)
        *ret_count = split;
    if (mode == TEL_EXEC_ROUTER) {
        *ret_first = split - partial;
        *ret_count = query->pipe_count - *ret_first;
    }
}

tel_code tel_chain_open(const struct tel_query *query, struct tel_exec *exec, tel_sink_fn sink,
                        void *sink_ctx, struct tel_chain **ret, struct tel_error *err)
{
    size_t first, count;
    bool partial;
    chain_range(query, exec->mode, &first, &count, &partial);
    struct tel_chain *chain = TEL_NEW(struct tel_chain);
    chain->query = query;
    chain->exec = exec;
    chain->sink = sink;
    chain->sink_ctx = sink_ctx;
    chain->stages = tel_calloc(count + 1, sizeof *chain->stages);
    for (size_t i = 0; i < count; i++) {
        struct tel_stage *stage = &chain->stages[i];
        stage->pipe = query->pipes[first + i];
        stage->query = query;
        stage->exec = exec;
        stage->sink = sink;
        stage->sink_ctx = sink_ctx;
        stage->next = i + 1 < count ? stage + 1 : NULL;
        stage->exporting = partial && exec->mode == TEL_EXEC_SHARD && i + 1 == count;
        stage->importing = partial && exec->mode == TEL_EXEC_ROUTER && i == 0;
        stage->state = tel_calloc(1, stage->pipe->ops->state_size + 1);
        chain->count++;
        if (stage->pipe->ops->open) {
            tel_code rc = stage->pipe->ops->open(stage, err);
            if (rc != TEL_OK) {
                tel_chain_close(chain);
                return rc;
            }
        }
    }
    *ret = chain;
    return TEL_OK;
}

/* options(time_offset=...) shows times later by what the filters looked earlier. */
static const struct tel_row_key *shifted(struct tel_chain *chain, const struct tel_block *block)
{
    int64_t offset = chain->query->options.time_offset_ns;
    if (!offset || !block->keys || chain->exec->mode == TEL_EXEC_ROUTER)
        return block->keys;
    struct tel_row_key *keys = TEL_ARENA_ARRAY(&chain->scratch, struct tel_row_key, block->rows);
    for (size_t i = 0; i < block->rows; i++) {
        keys[i] = block->keys[i];
        if (__builtin_add_overflow(keys[i].time_ns, offset, &keys[i].time_ns))
            keys[i].time_ns = offset > 0 ? INT64_MAX : INT64_MIN;
    }
    return keys;
}

tel_code tel_chain_push(struct tel_chain *chain, const struct tel_block *block,
                        struct tel_error *err)
{
    tel_code rc = stopped(chain->exec, err);
    if (rc != TEL_OK || block->rows == 0)
        return rc;
    struct tel_block shown = *block;
    struct tel_block_edit edit;
    tel_arena_reset(&chain->scratch);
    if (chain->query->score && chain->query->score->known && chain->exec->mode != TEL_EXEC_ROUTER) {
        tel_block_edit_init(&edit, block, &chain->scratch);
        tel_block_edit_set(&edit, TEL_SPAN("_score"),
                           tel_score_values(chain->query->score, block, &chain->scratch));
        shown = edit.block;
    }
    shown.keys = shifted(chain, block);
    return chain->count ? push_stage(&chain->stages[0], &shown, err)
                        : chain->sink(chain->sink_ctx, &shown, err);
}

tel_code tel_chain_import(struct tel_chain *chain, const struct tel_block *state,
                          struct tel_error *err)
{
    struct tel_stage *stage = &chain->stages[chain->count - 1];
    TEL_CHECK(chain->count > 0 && stage->exporting);
    stage->importing = true;
    tel_code rc = push_stage(stage, state, err);
    stage->importing = false;
    return rc;
}

bool tel_chain_done(const struct tel_chain *chain)
{
    /* A stage that is done needs nothing of those before it, unless one of them must be told of the
     * end to emit what it keeps: it would have emitted to a stage that takes nothing. */
    for (size_t i = 0; i < chain->count; i++)
        if (chain->stages[i].done)
            return true;
    return false;
}

bool tel_chain_is_choosy(const struct tel_chain *chain)
{
    return chain->count > 0 && chain->stages[0].pipe->ops->wants != NULL;
}

enum tel_want tel_chain_wants(const struct tel_chain *chain, struct tel_span field)
{
    return tel_chain_is_choosy(chain) ? chain->stages[0].pipe->ops->wants(&chain->stages[0], field)
                                      : TEL_WANT_VALUES;
}

tel_code tel_chain_finish(struct tel_chain *chain, struct tel_error *err)
{
    TEL_CHECK(!chain->finished);
    chain->finished = true;
    for (size_t i = 0; i < chain->count; i++) {
        struct tel_stage *stage = &chain->stages[i];
        tel_code rc = stopped(chain->exec, err);
        if (rc == TEL_OK && stage->pipe->ops->finish) {
            tel_arena_reset(&stage->scratch);
            rc = stage->pipe->ops->finish(stage, err);
        }
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

void tel_chain_close(struct tel_chain *chain)
{
    if (!chain)
        return;
    for (size_t i = 0; i < chain->count; i++) {
        struct tel_stage *stage = &chain->stages[i];
        if (stage->pipe->ops->close)
            stage->pipe->ops->close(stage);
        free(stage->state);
        tel_arena_free(&stage->scratch);
    }
    tel_arena_free(&chain->scratch);
    free(chain->stages);
    free(chain);
}

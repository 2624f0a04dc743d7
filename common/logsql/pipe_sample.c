/* sample N: each row with a chance of 1/N. */
#include "common/base/buf.h"
#include "common/base/rand.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipes.h"

struct sample_pipe {
    struct tel_pipe base;
    uint64_t n;
};

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct sample_pipe *s = TEL_ARENA_NEW(p->arena, struct sample_pipe);
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_uint(p, "a number", &s->n));
    if (s->n == 0)
        return tel_parse_fail(p, at, "expected a number above 0");
    *ret = &s->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    tel_buf_printf(out, "sample %llu", (unsigned long long)((const struct sample_pipe *)pipe)->n);
}

static tel_code sample_open(struct tel_stage *stage, struct tel_error *err)
{
    (void)err;
    tel_rand_init(stage->state, stage->exec->seed ? stage->exec->seed : tel_rand_seed());
    return TEL_OK;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    uint64_t n = ((const struct sample_pipe *)stage->pipe)->n;
    uint64_t *bitmap =
        TEL_ARENA_ARRAY(&stage->scratch, uint64_t, TEL_BITMAP_WORDS(block->rows) + 1);
    for (size_t i = 0; i < block->rows; i++)
        if (tel_rand_below(stage->state, n) == 0)
            bitmap[i / 64] |= UINT64_C(1) << i % 64;
    struct tel_block out;
    tel_block_select(block, bitmap, &stage->scratch, &out);
    return tel_stage_emit(stage, &out, err);
}

const struct tel_pipe_ops tel_pipe_sample = {.name = "sample",
                                             .parse = parse,
                                             .print = print,
                                             .state_size = sizeof(struct tel_rand),
                                             .open = sample_open,
                                             .push = push};

/* The operations of every pipe, as pipes.def lists them. */
#ifndef TEL_LOGSQL_PIPES_H
#define TEL_LOGSQL_PIPES_H

#include "common/base/buf.h"
#include "common/logsql/pipe.h"

#define TEL_PIPE(symbol, where, names) extern const struct tel_pipe_ops tel_pipe_##symbol;
#include "common/logsql/pipes.def"
#undef TEL_PIPE

/* N of limit and offset. */
uint64_t tel_pipe_limit_count(const struct tel_pipe *pipe);
/* `sort | offset N | limit M` is one sort that keeps few rows: takes the next pipe's number into a
 * sort. False if it cannot; the next pipe is not needed if it can. */
bool tel_pipe_sort_take(struct tel_pipe *sort, const struct tel_pipe *next);
/* The one field that a pipe of that kind leaves (tel_pipe_single_field). */
bool tel_pipe_fields_single(const struct tel_pipe *pipe, struct tel_span *ret);
/* The query inside join and union; NULL for other pipes. */
struct tel_query *tel_pipe_subquery(const struct tel_pipe *pipe);
bool tel_pipe_uniq_single(const struct tel_pipe *pipe, struct tel_span *ret);
/* What collapse_nums prettify makes of a text, for pipes that group by it. */
void tel_collapse_nums(struct tel_span text, struct tel_buf *out);

#endif

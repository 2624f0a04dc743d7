/*
 * Relevance: the column _score of queries whose pipes name it, as in `disk failure | sort by
 * (_score desc)`. It is BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework",
 * 2009) over the words that the filter asks for (not those behind `!`):
 *
 *     score = sum over words of   ln(1 + (N - df + 0.5) / (df + 0.5))
 *                               * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / average length))
 *
 * with k1 = 1.2 and b = 0.75. tf is how often the word stands in the event's field, length how many
 * words the field has; N counts the events that the query's times and streams select, df those of
 * them that hold the word, and the average is over the N. These numbers are gathered over all
 * shards first (tel_query_resolve), so that a score does not depend on where an event lies; they
 * travel to the shards with the query, as the option score_stats.
 */
#ifndef TEL_LOGSQL_SCORE_H
#define TEL_LOGSQL_SCORE_H

#include "common/logsql/pipe.h"

#define TEL_SCORE_TERMS_MAX 32

struct tel_score_term {
    struct tel_span word;
    size_t field; /* index */
    uint64_t df;
};

struct tel_score {
    struct tel_span fields[TEL_SCORE_TERMS_MAX];
    uint64_t field_words[TEL_SCORE_TERMS_MAX]; /* words in all N values of a field */
    size_t field_count;
    struct tel_score_term terms[TEL_SCORE_TERMS_MAX];
    size_t term_count;
    uint64_t docs;
    bool known; /* the numbers are */
};

/* What the query scores; NULL if its pipes do not name _score. */
struct tel_score *tel_score_new(const struct tel_query *query, struct tel_arena *arena);
/* The numbers as text and back; false if it is not as many numbers as there should be. */
void tel_score_print(const struct tel_score *score, struct tel_buf *out);
bool tel_score_parse(struct tel_score *score, struct tel_span text);
/* Gathers the numbers by a query of its own, through exec->run. */
TEL_MUST_USE tel_code tel_score_gather(struct tel_query *query, struct tel_exec *exec,
                                       struct tel_error *err);
/* The scores of a block's rows, in arena. */
const struct tel_span *tel_score_values(const struct tel_score *score,
                                        const struct tel_block *block, struct tel_arena *arena);

#endif

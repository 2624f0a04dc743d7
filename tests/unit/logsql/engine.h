/*
 * Runs queries over rows in memory, for tests: as a whole, in blocks of any size, or split over
 * several "shards" whose partial states a "router" merges. Rows come out as JSON with their fields
 * sorted by name.
 */
#ifndef TESTS_LOGSQL_ENGINE_H
#define TESTS_LOGSQL_ENGINE_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/logsql/json.h"
#include "common/logsql/pipe.h"

struct engine_row {
    struct tel_row_key key;
    struct tel_json_fields fields; /* without _time */
};

struct engine {
    struct tel_arena arena;
    struct engine_row *rows;
    size_t count, cap;
    int64_t now_ns;
    size_t memory_limit;
};

void engine_init(struct engine *e);
void engine_done(struct engine *e);
/* Adds a JSON object as a row; _time is its time. Fails the test if it is none. */
void engine_add(struct engine *e, struct tel_span json);

struct engine_answer {
    char **rows;
    size_t count, cap;
};

/* shards 0: in one place. seed mixes which shard a row lies on. */
tel_code engine_run(struct engine *e, struct tel_span query, size_t block_rows, size_t shards,
                    struct engine_answer *ret, struct tel_error *err);
void engine_answer_done(struct engine_answer *a);
void engine_answer_sort(struct engine_answer *a);

#endif

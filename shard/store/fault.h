/*
 * Steps of the store at which a test may stop the process or let the step fail. A build has this
 * always; a program passes none.
 */
#ifndef SHARD_STORE_FAULT_H
#define SHARD_STORE_FAULT_H

#include "common/base/error.h"

enum store_step {
    STORE_STEP_DAY_BATCH,      /* before a batch of a day that does not commit */
    STORE_STEP_DAY_COMMIT,     /* before the batch that commits a day */
    STORE_STEP_DAY_COMMITTED,  /* behind it, before it is visible */
    STORE_STEP_META_COMMIT,    /* before the resume offset */
    STORE_STEP_META_COMMITTED, /* behind it */
    STORE_STEP_MERGE,          /* before the merged segment is written */
    STORE_STEP_MERGED,         /* behind it */
    STORE_STEP_COLLECT,        /* before replaced segments are deleted */
    STORE_STEP_RETIRE,         /* before a segment is deleted by retention */
    STORE_STEP_DROP,           /* before a day's folder is renamed */
    STORE_STEP_DROPPED,        /* between renaming and deleting it */
    STORE_STEP_COUNT
};

struct store_faults {
    /* Anything but TEL_OK: the step fails as if LevelDB had. */
    tel_code (*step)(void *ctx, enum store_step step, struct tel_error *err);
    void *ctx;
};

#endif

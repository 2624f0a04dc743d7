/*
 * Buckets of `stats by (field:step offset off)`: a value is replaced by the lower end of its
 * bucket. Steps are numbers, sizes, durations, calendar units, or /bits for IPv4 networks.
 */
#ifndef TEL_LOGSQL_BUCKET_H
#define TEL_LOGSQL_BUCKET_H

#include "common/base/buf.h"
#include "common/base/span.h"

enum tel_bucket_unit { TEL_BUCKET_STEP, TEL_BUCKET_WEEK, TEL_BUCKET_MONTH, TEL_BUCKET_YEAR };

struct tel_bucket {
    bool given;
    enum tel_bucket_unit unit;
    double step;     /* of numbers */
    int64_t step_ns; /* of times, durations and addresses: at least 1 */
    double offset;
    int64_t offset_ns;
    struct tel_span text, offset_text; /* as they were written */
};

/* False if text is no step (offset: no offset). */
bool tel_bucket_set_step(struct tel_bucket *bucket, struct tel_span text);
bool tel_bucket_set_offset(struct tel_bucket *bucket, struct tel_span text);

int64_t tel_bucket_time(const struct tel_bucket *bucket, int64_t time_ns);
/* Appends the bucket of a value; a value that is no number, time, duration or address stays. */
void tel_bucket_value(const struct tel_bucket *bucket, struct tel_span value, struct tel_buf *out);

#endif

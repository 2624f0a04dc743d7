/*
 * What a query did, told after it ran: which pipes ran where, what the shards looked at and what
 * they passed over and why, and where the time went.
 */
#ifndef ROUTER_EXPLAIN_H
#define ROUTER_EXPLAIN_H

#include "common/base/buf.h"
#include "router/query.h"

/* For a query that was opened with params.explain and whose last step was made: as one JSON object,
 * or as lines for a person, as params.explain asks. */
void explain_query(const struct query *q, struct tel_buf *out);

#endif

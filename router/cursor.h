/*
 * Where the next page begins, as a text that a client hands back: opaque, with a version and a
 * checksum, and bound to what was asked.
 *
 * A page is the newest `limit` rows behind a key, newest first. Rows' keys (time, partition,
 * offset, index) are the same on every replica and for ever, and no two rows share one, so pages
 * neither repeat nor skip. Two more things go along for that: the bounds and the moment that
 * relative times refer to, as the first page had them; and for each partition the offset up to
 * which the first page's server had searched, so that no later page is answered by a replica that
 * is behind that.
 *
 * What comes in while somebody pages: an event that is newer than the page's place is never shown,
 * an older one is, in its place.
 */
#ifndef ROUTER_CURSOR_H
#define ROUTER_CURSOR_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/logsql/block.h"

#define CURSOR_PAGE_ROWS 1000u /* of a page that was asked for without a limit */

struct cursor_mark {
    uint32_t partition;
    int64_t offset; /* every message below it was searched */
};

struct cursor {
    int64_t now_ns, start_ns, end_ns; /* as struct query_params has them */
    struct tel_row_key key;           /* the last row that was shown */
    const struct cursor_mark *marks;
    size_t mark_count;
};

/* What a cursor is bound to: a hash of the parts, each with its length. */
uint64_t cursor_binding(const struct tel_span *parts, size_t count);

void cursor_print(const struct cursor *cursor, uint64_t binding, struct tel_buf *out);
/* The text around fields that are encoded already; for whoever tests the parser. */
void cursor_seal(struct tel_span fields, uint64_t binding, struct tel_buf *out);
/* *ret lives in arena. TEL_ERR_INVALID: not a cursor, one of another version, or one that is bound
 * to something else. */
TEL_MUST_USE tel_code cursor_parse(struct tel_span text, uint64_t binding, struct tel_arena *arena,
                                   struct cursor *ret, struct tel_error *err);

#endif

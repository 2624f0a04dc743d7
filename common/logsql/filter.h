/*
 * Filters over rows. A filter is evaluated on a block source: columns are asked for as they are
 * needed, and rows that are already out are not looked at again. The tree is immutable; any thread
 * may evaluate it, several at once.
 *
 * What a store needs besides, to skip what cannot match: the time range, the fields, the words that
 * a match must hold, and the match of one leaf with one value or one stream.
 */
#ifndef TEL_LOGSQL_FILTER_H
#define TEL_LOGSQL_FILTER_H

#include "common/logsql/block.h"
#include "common/logsql/fields.h"
#include "common/logsql/tree.h"

/* bitmap in: the rows to consider, out: those of them that match. TEL_ERR_LIMIT when a regular
 * expression needs too many steps; what the source's pace and its operations say passes through. On an error the bitmap is
 * undefined. */
TEL_MUST_USE tel_code tel_filter_eval(const struct tel_filter *filter, struct tel_block_source *src,
                                      uint64_t *bitmap, struct tel_error *err);

/* Does the leaf match a value of its field ("" is an absent one)? For all leaves that look at one
 * value alone: not for TIME, DAY_RANGE, WEEK_RANGE, VALUE_TYPE, *_FIELD; tel_filter_is_value_leaf
 * tells. STREAM takes the text of _stream. */
TEL_MUST_USE tel_code tel_filter_match_value(const struct tel_filter *leaf, struct tel_span value,
                                             bool *ret, struct tel_error *err);
bool tel_filter_is_value_leaf(const struct tel_filter *leaf);
/* About how much work that is for a value of so many bytes, as tel_pace_step counts it. */
uint64_t tel_filter_work(const struct tel_filter *leaf, size_t value_len);
/* Does a TIME, DAY_RANGE or WEEK_RANGE leaf match a time? */
bool tel_filter_match_time(const struct tel_filter *leaf, int64_t time_ns);

struct tel_label {
    struct tel_span name, value;
};
/* Does a STREAM leaf select the stream with these labels? */
TEL_MUST_USE tel_code tel_filter_match_stream(const struct tel_filter *leaf,
                                              const struct tel_label *labels, size_t count,
                                              bool *ret, struct tel_error *err);
/* The labels of {a="b",...}; values with escapes are decoded into arena. False if it is none. */
bool tel_stream_labels(struct tel_span text, struct tel_arena *arena, struct tel_label **ret,
                       size_t *ret_count);
/* {a="b",c="d"}, sorted by name, of labels that are sorted already. */
struct tel_buf;
void tel_stream_print(struct tel_buf *out, const struct tel_label *labels, size_t count);

/* Times outside [*ret_min, *ret_max] cannot match. False when nothing can. */
bool tel_filter_time_range(const struct tel_filter *filter, int64_t *ret_min, int64_t *ret_max);
/* Adds the fields that the filter looks at. */
void tel_filter_fields(const struct tel_filter *filter, struct tel_fields *fields);
/* The words that every value that matches the leaf holds, as whole words; possibly none. */
void tel_filter_words(const struct tel_filter *leaf, struct tel_arena *arena, struct tel_span **ret,
                      size_t *ret_count);
/* Bytes that every matching value holds; empty when there are none known. */
struct tel_span tel_filter_literal(const struct tel_filter *leaf);
/* Does the leaf match an absent field? */
bool tel_filter_matches_empty(const struct tel_filter *leaf);

/* Is it the name of a filter function such as in or seq? */
bool tel_filter_is_function(struct tel_span word);

/* Sets the values of an IN, CONTAINS_ALL or CONTAINS_ANY leaf that had a subquery. Before the tree
 * is shared. */
void tel_filter_set_values(struct tel_filter *filter, struct tel_span *values, size_t count,
                           struct tel_arena *arena);

/* The type that LogsQL's value_type and block_stats give a column: const, dict, uint8 ... uint64,
 * int64, float64, ipv4, iso8601 or string. */
const char *tel_values_type(const struct tel_span *values, size_t rows);

#endif

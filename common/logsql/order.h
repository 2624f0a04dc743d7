/*
 * The order of values. Values are text; numbers among them compare as numbers, text in natural
 * order (runs of digits by their value). A column may mix both, and then needs an order all the
 * same: empty first, then numbers, then text.
 */
#ifndef TEL_LOGSQL_ORDER_H
#define TEL_LOGSQL_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

enum tel_order_class { TEL_ORDER_EMPTY, TEL_ORDER_NUMBER, TEL_ORDER_TEXT };

/* A value with what it compares by, so that sorting parses each value once. */
struct tel_order_key {
    struct tel_span text; /* the value; whoever makes the key keeps it alive */
    double number;
    int64_t integer;
    uint8_t cls;
    bool is_integer;
};

/* As `sort` compares: integers, decimals and IPv4 addresses are numbers. */
struct tel_order_key tel_order_key_sort(struct tel_span value);
/* As min, max, quantile and comparisons of fields: durations and short forms are numbers, too. */
struct tel_order_key tel_order_key_any(struct tel_span value);
int tel_order_cmp(const struct tel_order_key *a, const struct tel_order_key *b);

/* Natural order of text, total: 0 only for equal bytes. */
int tel_order_natural(struct tel_span a, struct tel_span b);
/* a < b as min, max, lt_field and quantile have it. */
bool tel_order_less(struct tel_span a, struct tel_span b);

#endif

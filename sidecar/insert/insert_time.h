/* Times as agents write them. */
#ifndef SIDECAR_INSERT_TIME_H
#define SIDECAR_INSERT_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

/* RFC 3339 and what tel_time_parse takes; or a number since the Unix epoch, whose unit is told by its
 * magnitude: below 2^32 seconds, and a thousand, a million, a thousand million times that for ms, us,
 * ns. A fraction is of that unit. "" and "0" give now_ns. False on anything else. */
bool insert_time_parse(struct tel_span text, int64_t now_ns, int64_t *ret_ns);

#endif

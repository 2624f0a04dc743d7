/* XXH64 (xxHash specification, version 0.1.1), seed 0: what LogsQL's `hash` gives. Everything of
 * our own hashes with common/base/hash.h. */
#ifndef TEL_LOGSQL_XXH64_H
#define TEL_LOGSQL_XXH64_H

#include <stdint.h>

#include "common/base/span.h"

uint64_t tel_xxh64(struct tel_span s);

#endif

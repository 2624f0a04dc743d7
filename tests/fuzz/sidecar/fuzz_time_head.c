/* Any bytes as lines of one source: each is looked at with the cache as the line before left it. */
#include <stdint.h>

#include "common/base/check.h"
#include "sidecar/time_head.h"

#define NOW_NS INT64_C(1781524800000000000) /* 2026-06-15T12:00:00Z */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct time_head cached = {0};
    struct tel_span rest = tel_span_make(data, size);
    while (rest.len) {
        struct tel_span line = tel_span_split(&rest, '\n');
        struct time_head fresh = {0};
        int64_t first = 0, second = 0;
        bool found = time_head_parse(&cached, line, NOW_NS, &first);
        if (found)
            TEL_CHECK(first <= NOW_NS + INT64_C(100000) * 1000000000);
        /* Right after a line was read afresh, its own cache gives the same again. */
        if (time_head_parse(&fresh, line, NOW_NS, &first))
            TEL_CHECK(time_head_parse(&fresh, line, NOW_NS, &second) && first == second);
    }
    return 0;
}

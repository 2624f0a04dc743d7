/* Any bytes as a log value: JSON, logfmt, syslog, patterns, streams' labels, words, numbers. The
 * first line is a pattern, the rest is the value. */
#include <stdint.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/logsql/bucket.h"
#include "common/logsql/filter.h"
#include "common/logsql/json.h"
#include "common/logsql/logfmt.h"
#include "common/logsql/number.h"
#include "common/logsql/order.h"
#include "common/logsql/pattern.h"
#include "common/logsql/pipes.h"
#include "common/logsql/syslog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Numbers print to something that reads back as the same number. */
static void check_number(struct tel_span s)
{
    double f, again;
    struct tel_buf out = {0};
    if (tel_number_parse_any(s, &f) && f == f && f < 1e300 && f > -1e300) {
        tel_number_print(&out, f);
        if (!tel_span_to_double(tel_buf_span(&out), &again) || again != f)
            abort();
    }
    tel_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tel_span value = tel_span_make(data, size), first = tel_span_split(&value, '\n'), word;
    struct tel_arena arena = {0};
    struct tel_json_fields fields = {0};
    struct tel_buf out = {0};
    struct tel_pattern pattern;
    struct tel_label *labels;
    struct tel_bucket bucket = {0};
    size_t n, pos = 0;
    if (!value.ptr)
        value = first;
    tel_json_object(value, &arena, &fields);
    tel_json_array(value, &arena, &fields);
    tel_logfmt_parse(value, &arena, &fields);
    tel_syslog_parse(value, INT64_C(1700000000000000000), 0, &arena, &fields);
    tel_stream_labels(value, &arena, &labels, &n);
    if (tel_pattern_parse(first, &arena, &pattern))
        tel_pattern_match(&pattern, value, &arena,
                          TEL_ARENA_ARRAY(&arena, struct tel_span, pattern.count + 1));
    tel_collapse_nums(value, &out);
    while (tel_words_next(value, &pos, &word))
        if (word.len == 0)
            abort();
    struct tel_phrase phrase = tel_phrase_make(first);
    tel_phrase_find(&phrase, value, 0, false);
    tel_words_near(first, value, 2);
    if (tel_order_natural(first, value) != -tel_order_natural(value, first) &&
        (tel_order_natural(first, value) < 0) == (tel_order_natural(value, first) < 0))
        abort();
    check_number(first);
    tel_buf_clear(&out);
    if (tel_bucket_set_step(&bucket, first))
        tel_bucket_value(&bucket, value, &out);
    tel_buf_free(&out);
    tel_arena_free(&arena);
    return 0;
}

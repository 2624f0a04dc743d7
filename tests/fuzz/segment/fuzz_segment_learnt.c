/* What was learnt, from any bytes with a checksum that fits: whatever is taken of them, lines can be
 * matched with it, and it can be saved and loaded again. */
#include "common/base/buf.h"
#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "shard/segment/learn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void match(struct segment_learnt *l, const char *text)
{
    static struct splitter sp;
    char line[200 + SPLIT_SLACK] = {0};
    size_t len = strlen(text);
    struct tel_field label = {TEL_SPAN("app"), TEL_SPAN("a")};
    memcpy(line, text, len);
    TEL_CHECK(splitter_run(&sp, tel_span_make(line, len)));
    learnt_match(l, learnt_family(l, &label, 1), &sp, tel_span_make(line, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct segment_learnt *l;
    struct tel_buf bytes = {0};
    struct tel_error err;
    if (!l)
        l = segment_learnt_new();
    tel_buf_add(&bytes, data, size);
    tel_buf_add_le32(&bytes, tel_crc32c(0, bytes.ptr ? bytes.ptr : "", bytes.len));
    bool good = segment_learnt_load(l, tel_buf_span(&bytes), &err) == TEL_OK;
    match(l, "session opened for user bob by (uid=3)");
    match(l, "session opened for user eve by (uid=4)");
    match(l, "a b c");
    segment_learnt_age(l, good ? INT64_C(1700000000000000000) : 0);
    tel_buf_clear(&bytes);
    segment_learnt_save(l, &bytes);
    TEL_CHECK(segment_learnt_load(l, tel_buf_span(&bytes), &err) == TEL_OK);
    tel_buf_free(&bytes);
    return 0;
}

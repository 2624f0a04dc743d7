/*
 * What a client may hand back as a cursor: any text; and, since a checksum stands before the
 * fields, any bytes as those fields of a cursor that is made to look right.
 */
#include <stdint.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "router/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct tel_span text)
{
    struct tel_arena arena = {0};
    struct cursor c, again;
    struct tel_error err;
    if (cursor_parse(text, 1, &arena, &c, &err) == TEL_OK) {
        struct tel_buf out = {0};
        cursor_print(&c, 1, &out);
        TEL_CHECK(cursor_parse(tel_buf_span(&out), 1, &arena, &again, &err) == TEL_OK);
        TEL_CHECK(tel_row_key_cmp(&c.key, &again.key) == 0 && c.mark_count == again.mark_count);
        tel_buf_free(&out);
    }
    tel_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(tel_span_make(data, size));
    struct tel_buf text = {0};
    cursor_seal(tel_span_make(data, size), 1, &text);
    parse(tel_buf_span(&text));
    tel_buf_free(&text);
    return 0;
}

/*
 * Most values need no escapes, and a name is the same for all rows of a block: names are escaped
 * once a block, and values are looked at eight bytes at a time and copied whole when they are plain
 * ASCII without '"', '\' and control characters.
 */
#include "router/json.h"

#include <stdint.h>

#include "common/base/timefmt.h"

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* A byte of x that is zero (exact for the first one, which is enough here). */
static uint64_t zeros(uint64_t x)
{
    return (x - ONES) & ~x & HIGHS;
}

/* Can the bytes stand in a JSON string as they are? */
static bool is_plain(struct tel_span s)
{
    size_t i = 0;
    uint64_t bad = 0;
    for (; i + 8 <= s.len; i += 8) {
        uint64_t x;
        memcpy(&x, s.ptr + i, 8);
        /* not ASCII; below 0x20 (only meaningful for ASCII bytes); quote; backslash */
        bad |= (x & HIGHS) | ((x - ONES * 0x20) & ~x & HIGHS) | zeros(x ^ ONES * '"') |
               zeros(x ^ ONES * '\\');
    }
    if (bad)
        return false;
    for (; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            return false;
    }
    return true;
}

static void add_value(struct tel_buf *out, struct tel_span value)
{
    if (!is_plain(value)) {
        tel_buf_add_json(out, value);
        return;
    }
    tel_buf_reserve(out, value.len + 2);
    out->ptr[out->len] = '"';
    memcpy(out->ptr + out->len + 1, value.ptr, value.len);
    out->ptr[out->len + 1 + value.len] = '"';
    out->len += value.len + 2;
}

size_t json_add_block(struct tel_buf *out, const struct tel_block *block)
{
    struct tel_buf names = {0};
    TEL_CHECK(block->column_count < SIZE_MAX / sizeof(size_t));
    struct tel_arena arena = {0};
    size_t *ends = TEL_ARENA_ARRAY(&arena, size_t, block->column_count + 1);
    for (size_t c = 0; c < block->column_count; c++) {
        tel_buf_add_json(&names, block->columns[c].name);
        tel_buf_add_char(&names, ':');
        ends[c + 1] = names.len;
    }
    size_t shown = 0;
    for (size_t row = 0; row < block->rows; row++) {
        size_t start = out->len;
        for (size_t c = 0; c < block->column_count; c++) {
            char text[TEL_TIME_TEXT_MAX];
            struct tel_span value = tel_column_value(block, &block->columns[c], row, text);
            if (value.len == 0)
                continue;
            tel_buf_add_char(out, out->len == start ? '{' : ',');
            tel_buf_add(out, names.ptr + ends[c], ends[c + 1] - ends[c]);
            add_value(out, value);
        }
        if (out->len == start)
            continue;
        TEL_BUF_ADD_LIT(out, "}\n");
        shown++;
    }
    tel_arena_free(&arena);
    tel_buf_free(&names);
    return shown;
}

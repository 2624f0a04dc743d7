#include "common/journal/journal_format.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/sys/fs.h"

static const char magic[8] = {'T', 'E', 'L', 'J', 'R', 'N', 'L', '1'};

/* Little-endian on every machine; compilers make one instruction of each. */
static void put32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (char)(v >> (8 * i));
}

static void put64(char *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (char)(v >> (8 * i));
}

static uint32_t get32(const char *p)
{
    uint32_t v = 0;
    for (int i = 3; i >= 0; i--)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

static uint64_t get64(const char *p)
{
    return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32;
}

void journal_segment_name(char out[JOURNAL_NAME_MAX], int64_t base)
{
    snprintf(out, JOURNAL_NAME_MAX, "%020lld.seg", (long long)base);
}

bool journal_segment_parse(const char *name, int64_t *ret_base)
{
    struct tel_span s = tel_span_cstr(name);
    long long base = 0;
    if (s.len != 24 || !tel_span_ends(s, TEL_SPAN(".seg")) ||
        !tel_span_to_i64(tel_span_slice(s, 0, 20), &base) || base < 0)
        return false;
    *ret_base = base;
    return true;
}

void journal_header_put(char out[JOURNAL_HEADER_BYTES], int64_t base, int64_t created_ns)
{
    memcpy(out, magic, sizeof(magic));
    put64(out + 8, (uint64_t)base);
    put64(out + 16, (uint64_t)created_ns);
    put32(out + 24, 0);
    put32(out + 28, tel_crc32c(0, out, 28));
}

bool journal_header_check(const char *in, int64_t base)
{
    return memcmp(in, magic, sizeof(magic)) == 0 && get32(in + 28) == tel_crc32c(0, in, 28) &&
           get64(in + 8) == (uint64_t)base;
}

bool journal_header_other_version(const char *in)
{
    return memcmp(in, magic, sizeof(magic) - 1) == 0 && in[7] != magic[7] && in[7] >= '0' && in[7] <= '9' &&
           get32(in + 28) == tel_crc32c(0, in, 28);
}

void journal_frame_put(char out[JOURNAL_FRAME_BYTES], const struct journal_frame *f,
                       uint32_t payload_crc)
{
    put32(out + 4, f->length);
    put64(out + 8, (uint64_t)f->offset);
    put64(out + 16, (uint64_t)f->timestamp_ns);
    put32(out + 24, f->key_len);
    put32(out + 28, f->behind);
    put32(out, tel_crc32c(payload_crc, out + 4, JOURNAL_FRAME_BYTES - 4));
}

/* The header's fields; false if they cannot be a frame's. */
static bool parse_fields(const char *p, uint64_t record_max, struct journal_frame *f)
{
    f->length = get32(p + 4);
    f->offset = (int64_t)get64(p + 8);
    f->timestamp_ns = (int64_t)get64(p + 16);
    f->key_len = get32(p + 24);
    f->behind = get32(p + 28);
    return f->length <= record_max && f->key_len <= f->length && f->offset >= 0 &&
           (int64_t)f->behind <= f->offset;
}

enum journal_frame_state journal_frame_get(struct tel_span in, uint64_t record_max,
                                           struct journal_frame *ret, uint64_t *ret_need)
{
    *ret_need = JOURNAL_FRAME_BYTES;
    if (in.len < JOURNAL_FRAME_BYTES)
        return JOURNAL_FRAME_MORE;
    struct journal_frame f;
    if (!parse_fields(in.ptr, record_max, &f))
        return JOURNAL_FRAME_BAD;
    *ret_need = JOURNAL_FRAME_BYTES + (uint64_t)f.length;
    if (in.len < *ret_need)
        return JOURNAL_FRAME_MORE;
    uint32_t crc = tel_crc32c(0, in.ptr + JOURNAL_FRAME_BYTES, f.length);
    crc = tel_crc32c(crc, in.ptr + 4, JOURNAL_FRAME_BYTES - 4);
    if (crc != get32(in.ptr))
        return JOURNAL_FRAME_BAD;
    *ret = f;
    return JOURNAL_FRAME_GOOD;
}

/* Is there a good frame at pos? Reads it whole. */
static tel_code try_frame(struct tel_file *file, uint64_t pos, uint64_t to, uint64_t record_max,
                          const struct journal_frame *fields, bool *ret_good, struct tel_error *err)
{
    uint64_t need = JOURNAL_FRAME_BYTES + (uint64_t)fields->length, need_again = 0;
    *ret_good = false;
    if (need > to - pos)
        return TEL_OK;
    char *bytes = tel_malloc(need);
    size_t got = 0;
    tel_code rc = tel_file_pread(file, pos, bytes, need, &got, err);
    struct journal_frame again;
    if (rc == TEL_OK && got == need)
        *ret_good = journal_frame_get(tel_span_make(bytes, got), record_max, &again, &need_again) ==
                    JOURNAL_FRAME_GOOD;
    free(bytes);
    return rc;
}

#define RESYNC_WINDOW (256u << 10)

tel_code journal_resync(struct tel_file *file, uint64_t from, uint64_t to, int64_t min, int64_t max,
                        uint64_t record_max, uint64_t *ret_pos, struct journal_frame *ret,
                        struct tel_error *err)
{
    char *window = tel_malloc(RESYNC_WINDOW);
    tel_code rc = TEL_OK;
    bool good = false;
    while (rc == TEL_OK && !good && to > from && to - from >= JOURNAL_FRAME_BYTES) {
        size_t got = 0;
        rc = tel_file_pread(file, from, window, TEL_MIN(to - from, (uint64_t)RESYNC_WINDOW), &got, err);
        if (rc != TEL_OK || got < JOURNAL_FRAME_BYTES)
            break;
        size_t steps = got - JOURNAL_FRAME_BYTES + 1;
        for (size_t i = 0; i < steps && rc == TEL_OK && !good; i++) {
            struct journal_frame f;
            if (!parse_fields(window + i, record_max, &f) || f.offset < min || f.offset >= max)
                continue;
            rc = try_frame(file, from + i, to, record_max, &f, &good, err);
            if (rc == TEL_OK && good) {
                *ret_pos = from + i;
                *ret = f;
            }
        }
        from += steps;
    }
    free(window);
    if (rc == TEL_OK && !good)
        return tel_error_set(err, TEL_ERR_NOTFOUND, "no further record");
    return rc;
}

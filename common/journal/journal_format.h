/* The bytes of FORMAT.md. Internal to common/journal. */
#ifndef TEL_JOURNAL_FORMAT_H
#define TEL_JOURNAL_FORMAT_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/base/span.h"

struct tel_file;

#define JOURNAL_HEADER_BYTES 32u /* of a segment */
#define JOURNAL_FRAME_BYTES  32u /* of a frame, before its payload */
#define JOURNAL_NAME_MAX     32u

/* "00000000000000001182.seg" */
void journal_segment_name(char out[JOURNAL_NAME_MAX], int64_t base);
bool journal_segment_parse(const char *name, int64_t *ret_base);

void journal_header_put(char out[JOURNAL_HEADER_BYTES], int64_t base, int64_t created_ns);
bool journal_header_check(const char *in, int64_t base);
/* Is it the header of a journal whose format has another number? */
bool journal_header_other_version(const char *in);

struct journal_frame {
    int64_t offset, timestamp_ns;
    uint32_t length, key_len, behind;
};

/* payload_crc: CRC-32C of key and value, continued from 0. */
void journal_frame_put(char out[JOURNAL_FRAME_BYTES], const struct journal_frame *frame,
                       uint32_t payload_crc);

enum journal_frame_state {
    JOURNAL_FRAME_GOOD,
    JOURNAL_FRAME_BAD,
    JOURNAL_FRAME_MORE /* `in` ends within it; *ret_need bytes in all are needed to tell */
};

/* Reads the frame at in.ptr. A length above record_max is BAD. */
enum journal_frame_state journal_frame_get(struct tel_span in, uint64_t record_max,
                                           struct journal_frame *ret, uint64_t *ret_need);

/* The first good frame in [from, to) of the file whose offset is within [min, max), found by trying
 * every byte. TEL_ERR_NOTFOUND if there is none. */
TEL_MUST_USE tel_code journal_resync(struct tel_file *file, uint64_t from, uint64_t to, int64_t min,
                                     int64_t max, uint64_t record_max, uint64_t *ret_pos,
                                     struct journal_frame *ret, struct tel_error *err);

#endif

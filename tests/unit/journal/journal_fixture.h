/* What the journal's tests share: a folder of their own, records that name their number. */
#ifndef TESTS_UNIT_JOURNAL_FIXTURE_H
#define TESTS_UNIT_JOURNAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/journal/journal.h"

/* A fresh folder under $TMPDIR or /tmp; remove it with dir_remove, which frees the name. */
char *dir_make(void);
void dir_remove(char *dir);
/* The path of the segment with this base, in a static buffer. */
const char *segment_path(const char *dir, int64_t base);

struct tel_journal *journal_open_ok(const struct tel_journal_options *o);
/* Appends "key-N" with a value of `size` bytes that N determines; waits while the journal says AGAIN. */
void append_number(struct tel_journal *j, uint64_t number, size_t size, tel_journal_ack_cb *cb,
                   void *ctx);
/* Checks that a record is the one that append_number made of its number; returns the number. */
uint64_t check_record(const struct tel_journal_record *r);
/* Reads [from, to) and checks each record; number = offset + shift. */
void expect_numbers(struct tel_journal *j, int64_t from, int64_t to, int64_t shift);

struct ack_count {
    atomic_ulong ok, failed;
    _Atomic int64_t last_offset;
    tel_code last_code;
};
void count_ack(void *ctx, tel_code code, int64_t offset, const struct tel_error *err);

#endif

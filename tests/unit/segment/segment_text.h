/* Random text of many kinds, for tests of segments: what logs look like, and what they must survive. */
#ifndef TESTS_UNIT_SEGMENT_SEGMENT_TEXT_H
#define TESTS_UNIT_SEGMENT_SEGMENT_TEXT_H

#include "common/base/buf.h"
#include "common/base/rand.h"

/* Replaces out with a line. */
void segment_text_line(struct tel_rand *r, struct tel_buf *out);
/* A word that lines are likely to hold. */
struct tel_span segment_text_word(struct tel_rand *r);

#endif

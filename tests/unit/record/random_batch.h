/* Random batches for the tests of the record codec: every field, every length class, odd bytes. */
#ifndef TESTS_RECORD_RANDOM_BATCH_H
#define TESTS_RECORD_RANDOM_BATCH_H

#include "common/base/arena.h"
#include "common/base/rand.h"
#include "common/record/batch.h"

/* A valid batch of at most `events` events in the arena. */
void random_batch(struct tel_rand *r, struct tel_arena *arena, uint32_t events,
                  struct tel_batch *ret);
/* Fails the running test where two batches differ. */
void assert_batches_equal(const struct tel_batch *a, const struct tel_batch *b);

#endif

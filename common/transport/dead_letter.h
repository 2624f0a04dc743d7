/*
 * Dead letters: messages that cannot be decoded, kept with the reason in a queue of their own (a topic,
 * or a journal) as records of schemas/dead_letter.avsc in Avro's single-object encoding. A reader
 * buries such a message and goes on with its partition.
 *
 * A letter is durable when tel_dead_letters_bury returns, so that the reader's offset may pass it. A
 * crash in between buries it twice: (origin, partition, offset) tells.
 */
#ifndef TEL_TRANSPORT_DEAD_LETTER_H
#define TEL_TRANSPORT_DEAD_LETTER_H

#include "common/base/buf.h"
#include "common/transport/transport.h"

/* CRC-64-AVRO of schemas/dead_letter.avsc; a test recomputes it. */
#define TEL_DEAD_LETTER_FINGERPRINT UINT64_C(0x554bc1026725cb76)
#define TEL_DEAD_LETTER_VALUE_MAX   900000u /* within Kafka's default limit of a message, with its frame */
#define TEL_DEAD_LETTER_KEY_MAX     65536u

/* Appends the record to *ret. */
void tel_dead_letter_encode(const char *origin, const struct tel_message *message,
                            const struct tel_error *why, struct tel_buf *ret);

struct tel_dead_letters;

/* A sink into `transport`, which outlives it; origin names what the messages are read from. A letter
 * goes to the partition of its origin, modulo the sink's partitions. */
struct tel_dead_letters *tel_dead_letters_new(struct tel_transport *transport, const char *origin);

/* Buries one message and waits until that is durable, 10 s at most. Any thread; one at a time. All errors
 * of the transport are retriable: the reader holds its partition and tries again. sink is a struct
 * tel_dead_letters, untyped so that this can stand in a table of callbacks. */
TEL_MUST_USE tel_code tel_dead_letters_bury(void *sink, const struct tel_message *message,
                                            const struct tel_error *why, struct tel_error *err);
void tel_dead_letters_free(struct tel_dead_letters *d); /* NULL is fine */

#endif

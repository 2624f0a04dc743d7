/*
 * The record codec: a batch of events as one message (schemas/log_batch.avsc in Avro's binary
 * encoding), behind one of two frames:
 *
 *     Avro single-object     0xC3 0x01 | CRC-64-AVRO fingerprint of the schema, 8 bytes, LE | datum
 *     Confluent's            0x00      | id in a schema registry, 4 bytes, BE               | datum
 *
 * Avro 1.11 specification: "Binary Encoding", "Single-object encoding", "Schema Fingerprints".
 *
 * Decoding has two paths. A datum whose schema is ours (by its fingerprint) is read straight from the
 * message's bytes, and all spans of the batch point into them. Any other writer schema goes through
 * avro-c's schema resolution, so that producers may lack, add or reorder fields; that path copies into
 * the arena and is one to two orders slower. Both enforce the caps of batch.h before they allocate and
 * end in the same validation.
 */
#ifndef TEL_RECORD_CODEC_H
#define TEL_RECORD_CODEC_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/record/batch.h"

/* CRC-64-AVRO of the Parsing Canonical Form of schemas/log_batch.avsc; a test recomputes it. */
#define TEL_RECORD_FINGERPRINT UINT64_C(0xa6510c52006dc057)

enum tel_record_frame { TEL_RECORD_SINGLE_OBJECT, TEL_RECORD_CONFLUENT };

struct tel_record_framing {
    enum tel_record_frame frame;
    uint32_t schema_id; /* of TEL_RECORD_CONFLUENT: our schema's id in the registry */
};

/* ---- encoding: one thread per writer -------------------------------------------------------- */

/*
 * A message under construction, event by event. All zero is a fine new writer. The array of events
 * is one Avro block; its count is not known until the end, so that the writer leaves the room of the
 * longest count before the head and moves the head (some hundred bytes) up to the events at the end:
 *
 *     [ 2 free ][ frame, tenant, resource, source ][ 3: the count ][ events ... ][ 0 ]
 */
struct tel_record_writer {
    struct tel_buf buf;
    size_t head_end;        /* where the room for the count begins */
    uint64_t last_position; /* of the last event */
    uint32_t events, fields;
    bool open;
    struct tel_arena scratch; /* sorted labels, and the table that tells names apart */
    uint32_t *name_slots;
};

/* Begins a message with the head of `batch` (tenant, source, resource; its events are not looked at).
 * Labels need not be sorted; bytes of a label's value that are no UTF-8 become U+FFFD. What was in the
 * writer is dropped, its memory kept. TEL_ERR_INVALID, TEL_ERR_LIMIT: the head breaks batch.h. */
TEL_MUST_USE tel_code tel_record_writer_begin(struct tel_record_writer *w,
                                              const struct tel_record_framing *framing,
                                              const struct tel_batch *head, struct tel_error *err);

/* Appends an event. TEL_ERR_AGAIN: it is a good event, but the message is full: finish it and put the
 * event into the next. TEL_ERR_INVALID or _LIMIT: the event itself breaks batch.h (a position that
 * does not grow, a body that is too long, a name twice, ...). The message is as before in both cases. */
TEL_MUST_USE tel_code tel_record_writer_add(struct tel_record_writer *w,
                                            const struct tel_event *event, struct tel_error *err);

/* Bytes of the message if it were finished now (at most 2 more than it will be). */
static inline size_t tel_record_writer_size(const struct tel_record_writer *w)
{
    return w->buf.len - 1; /* two free in front, the end still to come */
}

/* Ends the message and returns its bytes: valid until the next begin or free. */
struct tel_span tel_record_writer_finish(struct tel_record_writer *w);
void tel_record_writer_free(struct tel_record_writer *w);

/* A whole batch at once, appended to *ret; on an error *ret is as before. */
TEL_MUST_USE tel_code tel_record_encode(const struct tel_batch *batch,
                                        const struct tel_record_framing *framing,
                                        struct tel_buf *ret, struct tel_error *err);

/* ---- decoding: one thread per decoder ------------------------------------------------------- */

/* Finds the JSON text of a writer schema, by its fingerprint (TEL_RECORD_SINGLE_OBJECT) or its id in
 * the registry (TEL_RECORD_CONFLUENT). The text need live only until the next call. An answer is
 * asked for once per schema and kept. A retriable error means "not now": the message is no dead
 * letter. TEL_ERR_NOTFOUND: nobody knows that schema. */
typedef tel_code tel_record_schema_lookup(void *ctx, enum tel_record_frame frame, uint64_t id,
                                          struct tel_span *ret_json, struct tel_error *err);

struct tel_record_decoder;

/* lookup may be NULL: then only messages in our own schema, single-object framed, can be read. */
struct tel_record_decoder *tel_record_decoder_new(tel_record_schema_lookup *lookup, void *ctx);
void tel_record_decoder_free(struct tel_record_decoder *d); /* NULL is fine */

/* Decodes a message. d may be NULL, which is a decoder without look-up. The batch's spans point into
 * `message` and `arena`. Errors name the byte of the message at which it goes wrong:
 * TEL_ERR_TRUNCATED, _CORRUPT (no Avro of that schema, or bytes left over), _LIMIT (a cap of batch.h),
 * _INVALID (well-formed, but no batch: tenant, names, positions), _UNSUPPORTED (a schema that nobody
 * knows or that cannot be resolved), or the look-up's own error. *ret is untouched on failure; the
 * arena may hold more than before. */
TEL_MUST_USE tel_code tel_record_decode(struct tel_record_decoder *d, struct tel_span message,
                                        struct tel_arena *arena, struct tel_batch *ret,
                                        struct tel_error *err);

/* The fingerprint of a schema given as JSON text, for caches that are filled from files. */
TEL_MUST_USE tel_code tel_record_schema_fingerprint(struct tel_span json, uint64_t *ret,
                                                    struct tel_error *err);

#endif

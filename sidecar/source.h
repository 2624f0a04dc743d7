/* One source's batches, from the open one to the acknowledged; internal to the pipeline (pipeline.h),
 * whose thread calls all of it. */
#ifndef SIDECAR_SOURCE_H
#define SIDECAR_SOURCE_H

#include "sidecar/pipeline.h"

/* What the records call it: the stored name, or "<sidecar>/<input>/<id>" for a new one. */
struct tel_span source_name(const struct source *s, char *buf, size_t size);
/* Its open batch leaves when it is old enough: no other of the source is ahead of it. */
void source_list(struct source *s);
/* Closes the open batch, if there is one, and sends if nothing is in flight. */
void source_seal(struct source *s);
/* Sends the first batch if nothing is in flight. Returns when to try again, TEL_NO_DEADLINE if that is
 * not needed. source_settle has to follow: a batch that cannot be sent at all may have been given up. */
int64_t source_send(struct source *s, int64_t now);
/* It does not wait to send any more, if it did. */
void source_leave_line(struct source *s);
/* A batch of it met its fate. May free the source. */
void source_delivered(struct batch *b);
/* Moves the position over what is done; frees the source if it is closed and nothing is left. */
void source_settle(struct source *s);
/* With all its batches, whatever their state. */
void source_free(struct source *s);

/* pipeline.c: the memory of batches, which is kept for later ones, and what of it the budget counts:
 * the buffers of batches that are open or not acknowledged. */
void pipeline_hold(struct pipeline *p, int64_t bytes);
void pipeline_keep_buffer(struct pipeline *p, struct tel_buf *buf);
void pipeline_keep_writer(struct pipeline *p, struct tel_record_writer *w);

#endif

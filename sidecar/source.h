/* One source's batches, from the open one to the acknowledged; internal to the pipeline (pipeline.h),
 * whose thread calls all of it. */
#ifndef SIDECAR_SOURCE_H
#define SIDECAR_SOURCE_H

#include "sidecar/pipeline.h"

/* What the records call it: the stored name, or "<sidecar>/<input>/<id>" for a new one. */
struct tel_span source_name(const struct source *s, char *buf, size_t size);
/* Closes the open batch, if there is one, and sends what can be sent. */
void source_seal(struct source *s);
/* Sends what is ready. Returns when to try again, TEL_NO_DEADLINE if that is not needed. */
int64_t source_send(struct source *s, int64_t now);
/* A batch of it met its fate. May free the source. */
void source_delivered(struct batch *b);
/* Moves the position over what is done; frees the source if it is closed and nothing is left. */
void source_settle(struct source *s);
/* With all its batches, whatever their state. */
void source_free(struct source *s);

/* Takes the memory of a batch back for later ones (pipeline.c). */
void pipeline_keep_buffer(struct pipeline *p, struct tel_buf *buf);

#endif

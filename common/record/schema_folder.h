/*
 * Writer schemas from a folder, for producers whose schema is not ours. Every *.avsc in it is found by
 * its fingerprint; one that is named id-N.avsc also answers for id N of a schema registry (the schema
 * itself may be ours, schemas/log_batch.avsc).
 *
 * The folder is read when a schema is asked for, which a decoder does once for each: files may be
 * added while a program runs. One thread per object.
 */
#ifndef TEL_RECORD_SCHEMA_FOLDER_H
#define TEL_RECORD_SCHEMA_FOLDER_H

#include "common/record/codec.h"

struct tel_fs;
struct tel_schema_folder;

struct tel_schema_folder *tel_schema_folder_new(struct tel_fs *fs, const char *dir);
void tel_schema_folder_free(struct tel_schema_folder *folder); /* NULL is fine */

/* A tel_record_schema_lookup; ctx is the folder. TEL_ERR_NOTFOUND: no file is that schema. Trouble with
 * the disk is retriable. Files that are no schemas are passed over. */
TEL_MUST_USE tel_code tel_schema_folder_lookup(void *ctx, enum tel_record_frame frame, uint64_t id,
                                               struct tel_span *ret_json, struct tel_error *err);

#endif

#include "common/record/schema_folder.h"

#include <stdio.h>
#include <stdlib.h>

#define TEL_LOG_COMPONENT "record"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/sys/fs.h"

enum { SCHEMA_FILE_MAX = 1 << 20 };

struct tel_schema_folder {
    struct tel_fs *fs;
    char *dir;
    struct tel_buf text; /* of the last answer */
};

struct tel_schema_folder *tel_schema_folder_new(struct tel_fs *fs, const char *dir)
{
    struct tel_schema_folder *f = TEL_NEW(struct tel_schema_folder);
    f->fs = fs;
    f->dir = tel_strdup(dir);
    return f;
}

void tel_schema_folder_free(struct tel_schema_folder *f)
{
    if (!f)
        return;
    tel_buf_free(&f->text);
    free(f->dir);
    free(f);
}

static tel_code read_schema(struct tel_schema_folder *f, const char *name, struct tel_error *err)
{
    struct tel_buf path = {0};
    tel_buf_printf(&path, "%s/%s", f->dir, name);
    tel_buf_clear(&f->text);
    tel_code rc = tel_fs_read_all(f->fs, tel_buf_cstr(&path), SCHEMA_FILE_MAX, &f->text, err);
    tel_buf_free(&path);
    return rc;
}

/* Is the file's schema the one with this fingerprint? A file that is none is told and passed over. */
static bool has_fingerprint(const struct tel_schema_folder *f, const char *name, uint64_t wanted)
{
    uint64_t fingerprint;
    struct tel_error why;
    if (tel_record_schema_fingerprint(tel_buf_span(&f->text), &fingerprint, &why) == TEL_OK)
        return fingerprint == wanted;
    tel_log_warn("not a schema", tel_kv_str("folder", f->dir), tel_kv_str("file", name),
                 tel_kv_error(&why));
    return false;
}

tel_code tel_schema_folder_lookup(void *ctx, enum tel_record_frame frame, uint64_t id,
                                  struct tel_span *ret_json, struct tel_error *err)
{
    struct tel_schema_folder *f = ctx;
    struct tel_fs_names names = {0};
    char wanted[48];
    snprintf(wanted, sizeof(wanted), "id-%llu.avsc", (unsigned long long)id);
    tel_code rc = tel_fs_list(f->fs, f->dir, &names, err);
    bool found = false;
    for (size_t i = 0; rc == TEL_OK && !found && i < names.len; i++) {
        const char *name = names.items[i];
        bool candidate = frame == TEL_RECORD_CONFLUENT
                             ? strcmp(name, wanted) == 0
                             : tel_span_ends(tel_span_cstr(name), TEL_SPAN(".avsc"));
        if (!candidate)
            continue;
        rc = read_schema(f, name, err);
        found = rc == TEL_OK && (frame == TEL_RECORD_CONFLUENT || has_fingerprint(f, name, id));
    }
    tel_fs_names_free(&names);
    if (rc != TEL_OK) {
        if (err) /* nothing is known of the schema: the message must wait */
            err->retriable = rc != TEL_ERR_LIMIT;
        return rc;
    }
    if (!found)
        return tel_error_set(err, TEL_ERR_NOTFOUND, "none of the files in %s is it", f->dir);
    *ret_json = tel_buf_span(&f->text);
    return TEL_OK;
}

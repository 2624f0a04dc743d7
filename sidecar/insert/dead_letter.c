#include "sidecar/insert/dead_letter.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/timefmt.h"
#include "common/base/utf8.h"
#include "common/sys/fs.h"
#include "common/sys/thread.h"

struct dead_letters {
    struct tel_fs *fs;
    char *dir, *path, *old_path;
    uint64_t budget;
    struct tel_mutex lock; /* all below */
    struct tel_file *file; /* NULL: opened with the next letter */
    uint64_t size;
};

static char *join(const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *path = tel_malloc(n);
    snprintf(path, n, "%s/%s", dir, name);
    return path;
}

tel_code dead_letters_open(struct tel_fs *fs, const char *dir, uint64_t budget,
                           struct dead_letters **ret, struct tel_error *err)
{
    tel_code rc = tel_fs_mkdir_all(fs, dir, err);
    if (rc != TEL_OK)
        return rc;
    struct dead_letters *d = TEL_NEW(struct dead_letters);
    d->fs = fs;
    d->dir = tel_strdup(dir);
    d->path = join(dir, "dead-letters.jsonl");
    d->old_path = join(dir, "dead-letters.1.jsonl");
    d->budget = budget;
    tel_mutex_init(&d->lock);
    *ret = d;
    return TEL_OK;
}

void dead_letters_close(struct dead_letters *d)
{
    if (!d)
        return;
    tel_file_close(d->file);
    tel_mutex_done(&d->lock);
    free(d->dir);
    free(d->path);
    free(d->old_path);
    free(d);
}

void dead_letter_format(struct tel_buf *out, int64_t now_ns, struct tel_span tenant,
                        const char *format, const char *reason, struct tel_span line)
{
    char time[TEL_TIME_TEXT_MAX];
    size_t n = tel_time_format(time, now_ns);
    TEL_BUF_ADD_LIT(out, "{\"_time\":\"");
    tel_buf_add(out, time, n);
    TEL_BUF_ADD_LIT(out, "\",\"tenant\":");
    tel_buf_add_json(out, tenant);
    tel_buf_printf(out, ",\"format\":\"%s\",\"reason\":", format);
    tel_buf_add_json(out, tel_span_cstr(reason));
    if (tel_utf8_valid(line)) {
        TEL_BUF_ADD_LIT(out, ",\"line\":");
        tel_buf_add_json(out, line);
    } else { /* byte for byte all the same */
        TEL_BUF_ADD_LIT(out, ",\"line_hex\":\"");
        for (size_t i = 0; i < line.len; i++) {
            static const char digits[] = "0123456789abcdef";
            tel_buf_add_char(out, digits[(unsigned char)line.ptr[i] >> 4]);
            tel_buf_add_char(out, digits[(unsigned char)line.ptr[i] & 15]);
        }
        tel_buf_add_char(out, '"');
    }
    TEL_BUF_ADD_LIT(out, "}\n");
}

static tel_code open_file(struct dead_letters *d, struct tel_error *err)
{
    struct tel_fs_stat st = {0};
    tel_code rc = tel_fs_open(d->fs, d->path, TEL_FS_APPEND | TEL_FS_CREATE, &d->file, err);
    if (rc == TEL_OK)
        rc = tel_fs_sync_dir(d->fs, d->dir, err);
    if (rc == TEL_OK)
        rc = tel_file_stat(d->file, &st, err);
    if (rc == TEL_OK)
        d->size = st.size;
    return rc;
}

static tel_code keep(struct dead_letters *d, struct tel_span letters, struct tel_error *err)
{
    tel_code rc = d->file ? TEL_OK : open_file(d, err);
    if (rc == TEL_OK && d->size > 0 && d->size + letters.len > d->budget / 2) {
        tel_file_close(d->file);
        d->file = NULL;
        rc = tel_fs_rename(d->fs, d->path, d->old_path, err);
        if (rc == TEL_OK)
            rc = open_file(d, err);
    }
    if (rc == TEL_OK)
        rc = tel_file_write(d->file, letters.ptr, letters.len, err);
    if (rc == TEL_OK)
        rc = tel_file_sync(d->file, err);
    if (rc == TEL_OK) {
        d->size += letters.len;
    } else { /* nothing is known about this handle after a failure */
        tel_file_close(d->file);
        d->file = NULL;
    }
    return rc;
}

tel_code dead_letters_keep(struct dead_letters *d, struct tel_span letters, struct tel_error *err)
{
    if (letters.len > d->budget / 2)
        return tel_error_set(err, TEL_ERR_LIMIT, "%zu bytes of dead letters at once", letters.len);
    tel_mutex_lock(&d->lock);
    tel_code rc = keep(d, letters, err);
    tel_mutex_unlock(&d->lock);
    return rc;
}

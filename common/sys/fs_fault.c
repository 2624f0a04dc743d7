/* Each operation asks `enter` whether it may happen, tells fs_fault_power.c what it is about to
 * change, and then does it on the machine's files. */
#include "common/sys/fs_fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/sys/fs_fault_power.h"
#include "common/sys/thread.h"

struct rule {
    unsigned ops;
    char *path_part;
    uint64_t nth; /* counts down to the one that fails; 0 when it has */
    bool on;
    double probability; /* instead of nth */
    int errnum;
};

struct tel_fs_fault {
    struct tel_fs fs;
    struct tel_mutex lock; /* guards all below and every operation */
    struct tel_fs *inner;
    struct tel_rand rand;
    TEL_VEC(struct rule) rules;
    uint64_t counts[32]; /* by bit of the operation */
    uint64_t space_left;
    struct power *power;
    bool off;
    unsigned generation; /* of power: handles of an earlier one are dead */
    uint64_t off_at, off_seed;
};

struct fault_file {
    struct tel_file file;
    struct tel_fs_fault *fault;
    struct tel_file *inner;
    struct power_file *bytes;
    unsigned generation;
    uint64_t pos;
    bool appends;
    char path[];
};

static struct tel_fs_fault *fault_of(struct tel_fs *fs)
{
    return TEL_CONTAINER_OF(fs, struct tel_fs_fault, fs);
}

static struct fault_file *file_of(struct tel_file *file)
{
    return TEL_CONTAINER_OF(file, struct fault_file, file);
}

static tel_code power_is_off(struct tel_error *err)
{
    return tel_error_set(err, TEL_ERR_IO, "the power is off");
}

static void cut_power(struct tel_fs_fault *fault, uint64_t seed)
{
    struct tel_rand rand;
    tel_rand_init(&rand, seed);
    power_fail(fault->power, &rand);
    fault->off = true;
    fault->off_at = 0;
    fault->generation++;
}

static int rule_hits(struct tel_fs_fault *fault, struct rule *rule, unsigned op, const char *path)
{
    if (!(rule->ops & op) || (rule->path_part && !strstr(path, rule->path_part)))
        return 0;
    if (rule->probability > 0)
        return tel_rand_double(&fault->rand) < rule->probability ? rule->errnum : 0;
    if (rule->nth == 0)
        return 0;
    if (rule->nth > 1) {
        rule->nth--;
        return 0;
    }
    if (!rule->on)
        rule->nth = 0;
    return rule->errnum;
}

/* Counts an operation. *ret_errnum: fail with it; *ret_cut: the power fails once half is done. */
static tel_code enter(struct tel_fs_fault *fault, unsigned op, const char *path, int *ret_errnum,
                      bool *ret_cut, struct tel_error *err)
{
    *ret_errnum = 0;
    *ret_cut = false;
    if (fault->off)
        return power_is_off(err);
    for (unsigned bit = 0; bit < TEL_ARRAY_LEN(fault->counts); bit++)
        fault->counts[bit] += op >> bit & 1;
    if (op & TEL_FAULT_CHANGES && fault->off_at > 0 && --fault->off_at == 0)
        *ret_cut = true;
    for (size_t i = 0; i < fault->rules.len; i++) {
        int errnum = rule_hits(fault, &fault->rules.items[i], op, path);
        *ret_errnum = *ret_errnum ? *ret_errnum : errnum;
    }
    return TEL_OK;
}

static tel_code injected(struct tel_error *err, int errnum, const char *path)
{
    return tel_error_errno(err, errnum, "injected failure on %s", path);
}

static tel_code finish(struct tel_fs_fault *fault, bool cut, tel_code rc, struct tel_error *err)
{
    if (!cut)
        return rc;
    cut_power(fault, fault->off_seed);
    return power_is_off(err);
}

/* An operation that is done whole or not at all. It is done if `rc` is TEL_OK and `go` is true: when
 * the power fails in the middle of it, a coin decides. */
struct step {
    tel_code rc;
    bool go, cut;
};

static struct step step_enter(struct tel_fs_fault *fault, unsigned op, const char *path,
                              struct tel_error *err)
{
    struct step step = {0};
    int errnum;
    step.rc = enter(fault, op, path, &errnum, &step.cut, err);
    if (step.rc == TEL_OK && errnum)
        step.rc = injected(err, errnum, path);
    step.go = step.rc == TEL_OK && (!step.cut || tel_rand_below(&fault->rand, 2));
    return step;
}

/* Takes the lock until step_end. */
static struct step step_begin(struct tel_fs_fault *fault, unsigned op, const char *path,
                              struct tel_error *err)
{
    tel_mutex_lock(&fault->lock);
    return step_enter(fault, op, path, err);
}

static tel_code step_end(struct tel_fs_fault *fault, struct step step, struct tel_error *err)
{
    tel_code rc = finish(fault, step.cut, step.rc, err);
    tel_mutex_unlock(&fault->lock);
    return rc;
}

/* --- files ------------------------------------------------------------------------------------- */

static tel_code file_enter(struct fault_file *self, unsigned op, int *ret_errnum, bool *ret_cut,
                           struct tel_error *err)
{
    *ret_errnum = 0;
    *ret_cut = false;
    if (self->generation != self->fault->generation)
        return power_is_off(err);
    return enter(self->fault, op, self->path, ret_errnum, ret_cut, err);
}

/* Takes the lock, which the caller gives back, for an operation that changes nothing. */
static tel_code file_look(struct fault_file *self, unsigned op, struct tel_error *err)
{
    int errnum;
    bool cut;
    tel_mutex_lock(&self->fault->lock);
    tel_code rc = file_enter(self, op, &errnum, &cut, err);
    return rc == TEL_OK && errnum ? injected(err, errnum, self->path) : rc;
}

static tel_code file_read(struct tel_file *file, void *out, size_t len, size_t *ret_len,
                          struct tel_error *err)
{
    struct fault_file *self = file_of(file);
    tel_code rc = file_look(self, TEL_FAULT_READ, err);
    if (rc == TEL_OK)
        rc = tel_file_read(self->inner, out, len, ret_len, err);
    if (rc == TEL_OK)
        self->pos += *ret_len;
    tel_mutex_unlock(&self->fault->lock);
    return rc;
}

static tel_code file_pread(struct tel_file *file, uint64_t offset, void *out, size_t len,
                           size_t *ret_len, struct tel_error *err)
{
    struct fault_file *self = file_of(file);
    tel_code rc = file_look(self, TEL_FAULT_READ, err);
    if (rc == TEL_OK)
        rc = tel_file_pread(self->inner, offset, out, len, ret_len, err);
    tel_mutex_unlock(&self->fault->lock);
    return rc;
}

/* Writes as much as the failures leave: all, up to the end of the disk, or some prefix. */
static tel_code write_some(struct fault_file *self, bool at_pos, uint64_t offset, const void *data,
                           size_t len, struct tel_error *err)
{
    struct tel_fs_fault *fault = self->fault;
    int errnum;
    bool cut;
    tel_code rc = file_enter(self, TEL_FAULT_WRITE, &errnum, &cut, err);
    if (rc != TEL_OK)
        return rc;
    size_t now = errnum || cut ? (size_t)tel_rand_below(&fault->rand, len + 1) : len;
    if (now > fault->space_left) {
        now = (size_t)fault->space_left;
        errnum = errnum ? errnum : ENOSPC;
    }
    uint64_t from = self->appends ? power_file_size(self->bytes) : offset;
    power_before_write(self->bytes, from, now);
    rc = at_pos ? tel_file_write(self->inner, data, now, err)
                : tel_file_pwrite(self->inner, offset, data, now, err);
    if (rc == TEL_OK && at_pos)
        self->pos += now;
    if (rc == TEL_OK && fault->space_left != UINT64_MAX)
        fault->space_left -= now;
    if (rc == TEL_OK && errnum)
        rc = injected(err, errnum, self->path);
    return finish(fault, cut, rc, err);
}

static tel_code file_write(struct tel_file *file, const void *data, size_t len,
                           struct tel_error *err)
{
    struct fault_file *self = file_of(file);
    tel_mutex_lock(&self->fault->lock);
    tel_code rc = write_some(self, true, self->pos, data, len, err);
    tel_mutex_unlock(&self->fault->lock);
    return rc;
}

static tel_code file_pwrite(struct tel_file *file, uint64_t offset, const void *data, size_t len,
                            struct tel_error *err)
{
    struct fault_file *self = file_of(file);
    tel_mutex_lock(&self->fault->lock);
    tel_code rc = write_some(self, false, offset, data, len, err);
    tel_mutex_unlock(&self->fault->lock);
    return rc;
}

static tel_code file_sync(struct tel_file *file, struct tel_error *err)
{
    struct fault_file *self = file_of(file);
    struct tel_fs_fault *fault = self->fault;
    int errnum;
    bool cut;
    tel_mutex_lock(&fault->lock);
    tel_code rc = file_enter(self, TEL_FAULT_SYNC, &errnum, &cut, err);
    if (rc == TEL_OK && errnum) {
        rc = injected(err, errnum, self->path);
        power_sync_failed(self->bytes);
    } else if (rc == TEL_OK && !cut) {
        /* No real sync: the machine's power stays on, and tests are many. */
        power_synced(self->bytes);
    }
    if (cut)
        rc = finish(fault, true, rc, err);
    tel_mutex_unlock(&fault->lock);
    return rc;
}

static void give_space(struct tel_fs_fault *fault, uint64_t bytes)
{
    if (fault->space_left != UINT64_MAX)
        fault->space_left += bytes;
}

static tel_code file_truncate(struct tel_file *file, uint64_t size, struct tel_error *err)
{
    struct fault_file *self = file_of(file);
    struct tel_fs_fault *fault = self->fault;
    struct step step = {0};
    tel_mutex_lock(&fault->lock);
    if (self->generation != fault->generation)
        step.rc = power_is_off(err);
    else
        step = step_enter(fault, TEL_FAULT_TRUNCATE, self->path, err);
    if (step.go) {
        uint64_t before = power_file_size(self->bytes);
        power_before_truncate(self->bytes, size);
        step.rc = tel_file_truncate(self->inner, size, err);
        if (step.rc == TEL_OK && size < before)
            give_space(fault, before - size);
    }
    return step_end(fault, step, err);
}

static tel_code file_stat(struct tel_file *file, struct tel_fs_stat *ret, struct tel_error *err)
{
    struct fault_file *self = file_of(file);
    tel_code rc = file_look(self, TEL_FAULT_STAT, err);
    if (rc == TEL_OK)
        rc = tel_file_stat(self->inner, ret, err);
    tel_mutex_unlock(&self->fault->lock);
    return rc;
}

static void file_close(struct tel_file *file)
{
    struct fault_file *self = file_of(file);
    tel_mutex_lock(&self->fault->lock);
    tel_file_close(self->inner);
    power_file_unref(self->fault->power, self->bytes);
    tel_mutex_unlock(&self->fault->lock);
    free(self);
}

static const struct tel_file_ops file_ops = {
    .read = file_read,
    .pread = file_pread,
    .write = file_write,
    .pwrite = file_pwrite,
    .sync = file_sync,
    .truncate = file_truncate,
    .stat = file_stat,
    .close = file_close,
};

/* --- names ------------------------------------------------------------------------------------- */

static tel_code open_and_track(struct tel_fs_fault *fault, const char *path, unsigned flags,
                               bool exists, struct tel_file **ret, struct tel_error *err)
{
    struct power_file *bytes = NULL;
    struct tel_file *inner;
    if (exists && flags & TEL_FS_TRUNC) {
        bytes = power_file_ref(fault->power, path, false);
        give_space(fault, power_file_size(bytes));
        power_before_truncate(bytes, 0);
    }
    tel_code rc = tel_fs_open(fault->inner, path, flags, &inner, err);
    if (rc != TEL_OK) {
        if (bytes)
            power_file_unref(fault->power, bytes);
        return rc;
    }
    if (!exists)
        power_created(fault->power, path);
    if (!bytes)
        bytes = power_file_ref(fault->power, path, !exists);
    size_t path_size = strlen(path) + 1;
    struct fault_file *self = tel_calloc(1, sizeof *self + path_size);
    self->file.ops = &file_ops;
    self->fault = fault;
    self->inner = inner;
    self->bytes = bytes;
    self->generation = fault->generation;
    self->appends = flags & TEL_FS_APPEND;
    memcpy(self->path, path, path_size);
    *ret = &self->file;
    return TEL_OK;
}

static tel_code fs_open(struct tel_fs *fs, const char *path, unsigned flags, struct tel_file **ret,
                        struct tel_error *err)
{
    struct tel_fs_fault *fault = fault_of(fs);
    struct tel_fs_stat st;
    tel_mutex_lock(&fault->lock);
    bool exists = tel_fs_stat(fault->inner, path, &st, NULL) == TEL_OK;
    unsigned op = TEL_FAULT_OPEN | (!exists && flags & TEL_FS_CREATE ? TEL_FAULT_CREATE : 0);
    struct tel_file *file = NULL;
    struct step step = step_enter(fault, op, path, err);
    if (step.go)
        step.rc = open_and_track(fault, path, flags, exists, &file, err);
    if (step.cut && file) {
        tel_file_close(file_of(file)->inner);
        power_file_unref(fault->power, file_of(file)->bytes);
        free(file_of(file));
        file = NULL;
    }
    tel_code rc = step_end(fault, step, err);
    if (rc == TEL_OK)
        *ret = file;
    return rc;
}

static tel_code fs_rename(struct tel_fs *fs, const char *from, const char *to,
                          struct tel_error *err)
{
    struct tel_fs_fault *fault = fault_of(fs);
    struct step step = step_begin(fault, TEL_FAULT_RENAME, to, err);
    if (step.go) {
        power_before_rename(fault->power, from, to);
        step.rc = tel_fs_rename(fault->inner, from, to, err);
        if (step.rc != TEL_OK)
            power_forget_last(fault->power);
    }
    return step_end(fault, step, err);
}

static tel_code fs_unlink(struct tel_fs *fs, const char *path, struct tel_error *err)
{
    struct tel_fs_fault *fault = fault_of(fs);
    struct step step = step_begin(fault, TEL_FAULT_UNLINK, path, err);
    if (step.go) {
        struct tel_fs_stat st = {0};
        (void)!tel_fs_stat(fault->inner, path, &st, NULL);
        power_before_unlink(fault->power, path);
        step.rc = tel_fs_unlink(fault->inner, path, err);
        if (step.rc == TEL_OK)
            give_space(fault, st.size);
        else
            power_forget_last(fault->power);
    }
    return step_end(fault, step, err);
}

static tel_code fs_mkdir(struct tel_fs *fs, const char *path, struct tel_error *err)
{
    struct tel_fs_fault *fault = fault_of(fs);
    struct step step = step_begin(fault, TEL_FAULT_MKDIR, path, err);
    if (step.go) {
        step.rc = tel_fs_mkdir(fault->inner, path, err);
        if (step.rc == TEL_OK)
            power_made_dir(fault->power, path);
    }
    return step_end(fault, step, err);
}

static tel_code fs_rmdir(struct tel_fs *fs, const char *path, struct tel_error *err)
{
    struct tel_fs_fault *fault = fault_of(fs);
    struct step step = step_begin(fault, TEL_FAULT_RMDIR, path, err);
    if (step.go) {
        step.rc = tel_fs_rmdir(fault->inner, path, err);
        if (step.rc == TEL_OK)
            power_removed_dir(fault->power, path);
    }
    return step_end(fault, step, err);
}

static tel_code fs_list(struct tel_fs *fs, const char *dir, struct tel_fs_names *ret,
                        struct tel_error *err)
{
    struct tel_fs_fault *fault = fault_of(fs);
    struct step step = step_begin(fault, TEL_FAULT_LIST, dir, err);
    if (step.go)
        step.rc = tel_fs_list(fault->inner, dir, ret, err);
    return step_end(fault, step, err);
}

static tel_code fs_stat(struct tel_fs *fs, const char *path, struct tel_fs_stat *ret,
                        struct tel_error *err)
{
    struct tel_fs_fault *fault = fault_of(fs);
    struct step step = step_begin(fault, TEL_FAULT_STAT, path, err);
    if (step.go)
        step.rc = tel_fs_stat(fault->inner, path, ret, err);
    return step_end(fault, step, err);
}

static tel_code fs_sync_dir(struct tel_fs *fs, const char *dir, struct tel_error *err)
{
    struct tel_fs_fault *fault = fault_of(fs);
    struct step step = step_begin(fault, TEL_FAULT_SYNC_DIR, dir, err);
    if (step.rc == TEL_OK && !step.cut)
        power_synced_dir(fault->power, dir);
    return step_end(fault, step, err);
}

static tel_code fs_space(struct tel_fs *fs, const char *path, struct tel_fs_space *ret,
                         struct tel_error *err)
{
    struct tel_fs_fault *fault = fault_of(fs);
    tel_mutex_lock(&fault->lock);
    tel_code rc = fault->off ? power_is_off(err) : tel_fs_space(fault->inner, path, ret, err);
    if (rc == TEL_OK)
        ret->free_bytes = TEL_MIN(ret->free_bytes, fault->space_left);
    tel_mutex_unlock(&fault->lock);
    return rc;
}

static const struct tel_fs_ops fs_ops = {
    .open = fs_open,
    .rename = fs_rename,
    .unlink = fs_unlink,
    .mkdir = fs_mkdir,
    .rmdir = fs_rmdir,
    .list = fs_list,
    .stat = fs_stat,
    .sync_dir = fs_sync_dir,
    .space = fs_space,
};

/* --- control ----------------------------------------------------------------------------------- */

struct tel_fs_fault *tel_fs_fault_new(uint64_t seed)
{
    struct tel_fs_fault *fault = TEL_NEW(struct tel_fs_fault);
    fault->fs.ops = &fs_ops;
    fault->inner = tel_fs_system();
    fault->space_left = UINT64_MAX;
    fault->power = power_new();
    tel_mutex_init(&fault->lock);
    tel_rand_init(&fault->rand, seed);
    return fault;
}

void tel_fs_fault_clear(struct tel_fs_fault *fault)
{
    tel_mutex_lock(&fault->lock);
    for (size_t i = 0; i < fault->rules.len; i++)
        free(fault->rules.items[i].path_part);
    tel_vec_clear(&fault->rules);
    tel_mutex_unlock(&fault->lock);
}

void tel_fs_fault_free(struct tel_fs_fault *fault)
{
    if (!fault)
        return;
    tel_fs_fault_clear(fault);
    tel_vec_free(&fault->rules);
    power_free(fault->power);
    tel_mutex_done(&fault->lock);
    free(fault);
}

struct tel_fs *tel_fs_fault_fs(struct tel_fs_fault *fault)
{
    return &fault->fs;
}

static void add_rule(struct tel_fs_fault *fault, struct rule rule, const char *path_part)
{
    rule.path_part = path_part ? tel_strdup(path_part) : NULL;
    tel_mutex_lock(&fault->lock);
    tel_vec_push(&fault->rules, rule);
    tel_mutex_unlock(&fault->lock);
}

void tel_fs_fault_at(struct tel_fs_fault *fault, unsigned ops, const char *path_part, uint64_t nth,
                     bool on, int errnum)
{
    TEL_CHECK(nth > 0 && errnum > 0);
    add_rule(fault, (struct rule){.ops = ops, .nth = nth, .on = on, .errnum = errnum}, path_part);
}

void tel_fs_fault_randomly(struct tel_fs_fault *fault, unsigned ops, const char *path_part,
                           double probability, int errnum)
{
    TEL_CHECK(probability > 0 && errnum > 0);
    add_rule(fault, (struct rule){.ops = ops, .probability = probability, .errnum = errnum},
             path_part);
}

void tel_fs_fault_space_left(struct tel_fs_fault *fault, uint64_t bytes)
{
    tel_mutex_lock(&fault->lock);
    fault->space_left = bytes;
    tel_mutex_unlock(&fault->lock);
}

uint64_t tel_fs_fault_count(struct tel_fs_fault *fault, unsigned ops)
{
    uint64_t count = 0;
    tel_mutex_lock(&fault->lock);
    for (unsigned bit = 0; bit < TEL_ARRAY_LEN(fault->counts); bit++)
        count += ops >> bit & 1 ? fault->counts[bit] : 0;
    tel_mutex_unlock(&fault->lock);
    return count;
}

void tel_fs_fault_power_off(struct tel_fs_fault *fault, uint64_t seed)
{
    tel_mutex_lock(&fault->lock);
    if (!fault->off)
        cut_power(fault, seed);
    tel_mutex_unlock(&fault->lock);
}

void tel_fs_fault_power_off_at(struct tel_fs_fault *fault, uint64_t nth, uint64_t seed)
{
    tel_mutex_lock(&fault->lock);
    fault->off_at = nth;
    fault->off_seed = seed;
    tel_mutex_unlock(&fault->lock);
}

bool tel_fs_fault_is_off(struct tel_fs_fault *fault)
{
    tel_mutex_lock(&fault->lock);
    bool off = fault->off;
    tel_mutex_unlock(&fault->lock);
    return off;
}

void tel_fs_fault_power_on(struct tel_fs_fault *fault)
{
    tel_mutex_lock(&fault->lock);
    fault->off = false;
    tel_mutex_unlock(&fault->lock);
}

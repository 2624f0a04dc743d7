/*
 * The record codec as a command, for tests with other Avro implementations.
 *
 *     record_peer write SEED COUNT DIR    COUNT random batches into DIR/N.msg, and each as a line of JSON
 *     record_peer dump SCHEMAS FILE...    decodes messages, one line of JSON each; writer schemas are
 *                                         looked up in the folder SCHEMAS
 *
 * In the JSON all bytes are hexadecimal text; a message that cannot be decoded is {"code", "error"}.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/record/schema_folder.h"
#include "common/sys/fs.h"
#include "tests/unit/record/random_batch.h"

static void die(const char *what, const char *path)
{
    fprintf(stderr, "record_peer: %s: %s\n", what, path);
    exit(2);
}

static char *read_file(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    long len = ftell(f);
    rewind(f);
    char *p = tel_malloc((size_t)len + 1);
    if (fread(p, 1, (size_t)len, f) != (size_t)len)
        die("cannot read", path);
    fclose(f);
    *ret_len = (size_t)len;
    return p;
}

static void hex(struct tel_buf *out, struct tel_span s)
{
    tel_buf_add_char(out, '"');
    for (size_t i = 0; i < s.len; i++)
        tel_buf_printf(out, "%02x", (unsigned char)s.ptr[i]);
    tel_buf_add_char(out, '"');
}

static void fields(struct tel_buf *out, const struct tel_field *f, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        tel_buf_add_char(out, i ? ',' : '{');
        hex(out, f[i].name);
        tel_buf_add_char(out, ':');
        hex(out, f[i].value);
    }
    tel_buf_add_span(out, n ? TEL_SPAN("}") : TEL_SPAN("{}"));
}

static void print_batch(const struct tel_batch *b)
{
    struct tel_buf out = {0};
    TEL_BUF_ADD_LIT(&out, "{\"tenant\":");
    hex(&out, b->tenant);
    TEL_BUF_ADD_LIT(&out, ",\"source\":");
    hex(&out, b->source);
    TEL_BUF_ADD_LIT(&out, ",\"resource\":");
    fields(&out, b->resource, b->resource_count);
    TEL_BUF_ADD_LIT(&out, ",\"events\":[");
    for (uint32_t i = 0; i < b->event_count; i++) {
        const struct tel_event *e = &b->events[i];
        tel_buf_printf(&out, "%s{\"timestamp\":%lld,\"position\":%llu,\"severity\":%u,\"body\":", i ? "," : "",
                       (long long)e->timestamp_ns, (unsigned long long)e->position, e->severity);
        hex(&out, e->body);
        TEL_BUF_ADD_LIT(&out, ",\"attributes\":");
        fields(&out, e->attributes, e->attribute_count);
        TEL_BUF_ADD_LIT(&out, ",\"trace_id\":");
        hex(&out, e->trace_id);
        TEL_BUF_ADD_LIT(&out, ",\"span_id\":");
        hex(&out, e->span_id);
        tel_buf_add_char(&out, '}');
    }
    TEL_BUF_ADD_LIT(&out, "]}\n");
    fwrite(out.ptr, 1, out.len, stdout);
    tel_buf_free(&out);
}

static int write_batches(uint64_t seed, int count, const char *dir)
{
    struct tel_rand r;
    tel_rand_init(&r, seed);
    for (int i = 0; i < count; i++) {
        struct tel_arena arena = {0};
        struct tel_batch batch;
        struct tel_buf buf = {0};
        struct tel_error err;
        char path[1024];
        struct tel_record_framing framing = {.frame = i % 4 ? TEL_RECORD_SINGLE_OBJECT : TEL_RECORD_CONFLUENT,
                                             .schema_id = 7};
        random_batch(&r, &arena, 40, &batch);
        if (tel_record_encode(&batch, &framing, &buf, &err) != TEL_OK)
            die("encode", err.text);
        snprintf(path, sizeof path, "%s/%d.msg", dir, i);
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(buf.ptr, 1, buf.len, f) != buf.len || fclose(f) != 0)
            die("cannot write", path);
        print_batch(&batch);
        tel_buf_free(&buf);
        tel_arena_free(&arena);
    }
    return 0;
}

static int dump(const char *schemas, char **files, int count)
{
    struct tel_schema_folder *folder = tel_schema_folder_new(tel_fs_system(), schemas);
    struct tel_record_decoder *d = tel_record_decoder_new(tel_schema_folder_lookup, folder);
    for (int i = 0; i < count; i++) {
        struct tel_arena arena = {0};
        struct tel_batch batch;
        struct tel_error err;
        size_t len = 0;
        char *bytes = read_file(files[i], &len);
        if (!bytes)
            die("cannot read", files[i]);
        tel_code rc = tel_record_decode(d, tel_span_make(bytes, len), &arena, &batch, &err);
        if (rc == TEL_OK) {
            print_batch(&batch);
        } else {
            struct tel_buf out = {0};
            tel_buf_add_json(&out, tel_span_cstr(err.text));
            printf("{\"code\":\"%s\",\"error\":%s}\n", tel_code_name(rc), tel_buf_cstr(&out));
            tel_buf_free(&out);
        }
        free(bytes);
        tel_arena_free(&arena);
    }
    tel_record_decoder_free(d);
    tel_schema_folder_free(folder);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "write") == 0)
        return write_batches(strtoull(argv[2], NULL, 10), atoi(argv[3]), argv[4]);
    if (argc >= 3 && strcmp(argv[1], "dump") == 0)
        return dump(argv[2], argv + 3, argc - 3);
    fprintf(stderr, "usage: record_peer write SEED COUNT DIR | dump SCHEMAS FILE...\n");
    return 2;
}

/*
 * Certificates. The files are read into an immutable snapshot that is swapped under the lock; its
 * generation number tells servers (in gRPC's hook before each handshake) and channels (before each
 * call) that there is a newer one. Both files are read before either is believed, and a pair that
 * was read in the middle of being replaced is refused by gRPC when the handshake is set up, which
 * keeps the pair before it: the next look, a second later, mends it.
 */
#include "common/net/rpc/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEL_LOG_COMPONENT "rpc"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/net/rpc/core.h"

#define PEM_BYTES_MAX (1u << 20)

enum { FILE_CA, FILE_CERT, FILE_KEY, FILE_COUNT };

struct tel_rpc_tls {
    _Atomic int refs;
    char *path[FILE_COUNT]; /* NULL: none */
    pthread_mutex_t lock;   /* guards what is below */
    char *pem[FILE_COUNT];
    struct timespec mtime[FILE_COUNT];
    unsigned generation;
    int64_t looked_ns;
};

/* What a server's credentials remember: which generation it has handed to gRPC. */
struct tls_server {
    struct tel_rpc_tls *tls;
    unsigned given;
};

static tel_code pem_read(const char *path, char **ret, struct timespec *ret_mtime,
                         struct tel_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tel_error_errno(err, errno, "%s", path);
    struct stat st;
    tel_code rc = TEL_OK;
    char *text = NULL;
    if (fstat(fd, &st) != 0) {
        rc = tel_error_errno(err, errno, "%s", path);
    } else if (!S_ISREG(st.st_mode) || st.st_size > PEM_BYTES_MAX) {
        rc = tel_error_set(err, TEL_ERR_INVALID, "%s is no PEM file", path);
    } else {
        size_t len = (size_t)st.st_size, got = 0;
        text = tel_malloc(len + 1);
        ssize_t n;
        while (got < len && (n = read(fd, text + got, len - got)) > 0)
            got += (size_t)n;
        text[got] = '\0';
        if (!strstr(text, "-----BEGIN "))
            rc = tel_error_set(err, TEL_ERR_INVALID, "%s is no PEM file", path);
    }
    close(fd);
    if (rc != TEL_OK) {
        free(text);
        return rc;
    }
    *ret = text;
    *ret_mtime = st.st_mtim;
    return TEL_OK;
}

/* Keys do not linger on the heap. */
static void pem_free(char *pem)
{
    if (pem) {
        explicit_bzero(pem, strlen(pem));
        free(pem);
    }
}

static tel_code tls_load_locked(struct tel_rpc_tls *tls, struct tel_error *err)
{
    char *pem[FILE_COUNT] = {0};
    struct timespec mtime[FILE_COUNT] = {0};
    tel_code rc = TEL_OK;
    for (int i = 0; i < FILE_COUNT && rc == TEL_OK; i++)
        if (tls->path[i])
            rc = pem_read(tls->path[i], &pem[i], &mtime[i], err);
    if (rc != TEL_OK) {
        for (int i = 0; i < FILE_COUNT; i++)
            pem_free(pem[i]);
        return rc;
    }
    for (int i = 0; i < FILE_COUNT; i++) {
        pem_free(tls->pem[i]);
        tls->pem[i] = pem[i];
        tls->mtime[i] = mtime[i];
    }
    tls->generation++;
    return TEL_OK;
}

tel_code tel_rpc_tls_new(const struct tel_rpc_tls_options *options, struct tel_rpc_tls **ret,
                         struct tel_error *err)
{
    if (!options->cert_file != !options->key_file)
        return tel_error_set(err, TEL_ERR_INVALID,
                             "a certificate needs its key, and a key its certificate");
    struct tel_rpc_tls *tls = TEL_NEW(struct tel_rpc_tls);
    tls->refs = 1;
    pthread_mutex_init(&tls->lock, NULL);
    tls->path[FILE_CA] = options->ca_file ? tel_strdup(options->ca_file) : NULL;
    tls->path[FILE_CERT] = options->cert_file ? tel_strdup(options->cert_file) : NULL;
    tls->path[FILE_KEY] = options->key_file ? tel_strdup(options->key_file) : NULL;
    pthread_mutex_lock(&tls->lock);
    tel_code rc = tls_load_locked(tls, err);
    tls->looked_ns = tel_mono_ns(tel_clock_system());
    pthread_mutex_unlock(&tls->lock);
    if (rc != TEL_OK) {
        tel_rpc_tls_unref(tls);
        return tel_error_wrap(err, rc, "certificates");
    }
    *ret = tls;
    return TEL_OK;
}

tel_code tel_rpc_tls_reload(struct tel_rpc_tls *tls, struct tel_error *err)
{
    pthread_mutex_lock(&tls->lock);
    tel_code rc = tls_load_locked(tls, err);
    pthread_mutex_unlock(&tls->lock);
    return rc == TEL_OK ? TEL_OK : tel_error_wrap(err, rc, "certificates");
}

struct tel_rpc_tls *tel_rpc_tls_ref(struct tel_rpc_tls *tls)
{
    if (tls)
        atomic_fetch_add(&tls->refs, 1);
    return tls;
}

void tel_rpc_tls_unref(struct tel_rpc_tls *tls)
{
    if (!tls || atomic_fetch_sub(&tls->refs, 1) != 1)
        return;
    for (int i = 0; i < FILE_COUNT; i++) {
        free(tls->path[i]);
        pem_free(tls->pem[i]);
    }
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

/* Reads the files again if one of them looks different, once a second at most. */
static void tls_look_locked(struct tel_rpc_tls *tls)
{
    int64_t now = tel_mono_ns(tel_clock_system());
    if (now - tls->looked_ns < TEL_NS_PER_S)
        return;
    tls->looked_ns = now;
    bool changed = false;
    for (int i = 0; i < FILE_COUNT; i++) {
        struct stat st;
        if (tls->path[i] && stat(tls->path[i], &st) == 0 &&
            (st.st_mtim.tv_sec != tls->mtime[i].tv_sec ||
             st.st_mtim.tv_nsec != tls->mtime[i].tv_nsec))
            changed = true;
    }
    if (!changed)
        return;
    struct tel_error err;
    if (tls_load_locked(tls, &err) == TEL_OK)
        tel_log_info("certificates reloaded", tel_kv_str("cert", tls->path[FILE_CERT]));
    else
        tel_log_warn("certificates not reloaded, the old ones stay", tel_kv_error(&err));
}

bool rpc_tls_has_cert(const struct tel_rpc_tls *tls)
{
    return tls->path[FILE_CERT] != NULL;
}

unsigned rpc_tls_generation(struct tel_rpc_tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    tls_look_locked(tls);
    unsigned generation = tls->generation;
    pthread_mutex_unlock(&tls->lock);
    return generation;
}

/* gRPC asks before every handshake, one at a time. */
static grpc_ssl_certificate_config_reload_status
tls_fetch(void *user, grpc_ssl_server_certificate_config **ret_config)
{
    struct tls_server *ts = user;
    struct tel_rpc_tls *tls = ts->tls;
    grpc_ssl_certificate_config_reload_status status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    pthread_mutex_lock(&tls->lock);
    tls_look_locked(tls);
    if (ts->given != tls->generation) {
        grpc_ssl_pem_key_cert_pair pair = {tls->pem[FILE_KEY], tls->pem[FILE_CERT]};
        /* Core insists on roots even when it asks no client for a certificate, and then looks at
         * none. */
        const char *roots = tls->pem[FILE_CA] ? tls->pem[FILE_CA] : tls->pem[FILE_CERT];
        *ret_config = grpc_ssl_server_certificate_config_create(roots, &pair, 1);
        ts->given = tls->generation;
        status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
    }
    pthread_mutex_unlock(&tls->lock);
    return status;
}

grpc_server_credentials *rpc_tls_server_credentials(struct tel_rpc_tls *tls, void **ret_state)
{
    struct tls_server *ts = TEL_NEW(struct tls_server);
    ts->tls = tls;
    grpc_ssl_server_credentials_options *options =
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            tls->path[FILE_CA] ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                               : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            tls_fetch, ts);
    *ret_state = ts;
    return grpc_ssl_server_credentials_create_with_options(options);
}

grpc_channel_credentials *rpc_tls_channel_credentials(struct tel_rpc_tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    grpc_ssl_pem_key_cert_pair pair = {tls->pem[FILE_KEY], tls->pem[FILE_CERT]};
    grpc_channel_credentials *creds = grpc_ssl_credentials_create(
        tls->pem[FILE_CA], tls->pem[FILE_CERT] ? &pair : NULL, NULL, NULL);
    pthread_mutex_unlock(&tls->lock);
    return creds;
}

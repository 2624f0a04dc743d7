/*
 * Certificates of a server or a client: PEM files, read at start and again whenever they change
 * (looked at once a second at most, when a connection is made) or when tel_rpc_tls_reload is
 * called. Certificates that cannot be read leave the old ones in force. Connections that stand keep
 * theirs.
 *
 * Any thread. Counted; a server or a channel holds a reference of its own.
 */
#ifndef TEL_NET_RPC_TLS_H
#define TEL_NET_RPC_TLS_H

#include <stdbool.h>

#include "common/base/error.h"

struct tel_rpc_tls;

struct tel_rpc_tls_options {
    const char
        *ca_file; /* who may sign the peer's certificate; a server without one asks for none */
    const char *cert_file; /* our chain; a client may have none (then it is not mutual) */
    const char *key_file;
};

TEL_MUST_USE tel_code tel_rpc_tls_new(const struct tel_rpc_tls_options *options,
                                      struct tel_rpc_tls **ret, struct tel_error *err);
TEL_MUST_USE tel_code tel_rpc_tls_reload(struct tel_rpc_tls *tls, struct tel_error *err);
struct tel_rpc_tls *tel_rpc_tls_ref(struct tel_rpc_tls *tls); /* NULL gives NULL */
void tel_rpc_tls_unref(struct tel_rpc_tls *tls);

#endif

/* Certificates made on the spot, into files. */
#ifndef TESTS_UNIT_RPC_TEST_CERTS_H
#define TESTS_UNIT_RPC_TEST_CERTS_H

#include <openssl/evp.h>
#include <openssl/x509.h>

struct test_ca {
    EVP_PKEY *key;
    X509 *cert;
};

/* Writes the CA's certificate to path. */
void test_ca_make(struct test_ca *ca, const char *name, const char *path);
/* Writes <dir>/<file>.crt and <dir>/<file>.key: signed by ca, with DNS name `dns` and 127.0.0.1. */
void test_ca_sign(const struct test_ca *ca, const char *dns, const char *dir, const char *file);
void test_ca_free(struct test_ca *ca);

#endif

#include "tests/unit/rpc/test_certs.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

static void must(int ok)
{
    if (!ok)
        abort();
}

static void write_pem(const char *path, X509 *cert, EVP_PKEY *key)
{
    char temp[512]; /* renamed into place, as a certificate manager does */
    snprintf(temp, sizeof(temp), "%s.new", path);
    FILE *f = fopen(temp, "w");
    must(f != NULL);
    if (cert)
        must(PEM_write_X509(f, cert));
    if (key)
        must(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
    must(fclose(f) == 0);
    must(rename(temp, path) == 0);
}

static X509 *make_cert(EVP_PKEY *key, const char *name, X509 *issuer, EVP_PKEY *issuer_key,
                       const char *san)
{
    static long serial = 1;
    X509 *cert = X509_new();
    must(cert && X509_set_version(cert, 2));
    must(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++));
    must(X509_gmtime_adj(X509_getm_notBefore(cert), -3600) != NULL);
    must(X509_gmtime_adj(X509_getm_notAfter(cert), 86400) != NULL);
    must(X509_set_pubkey(cert, key));
    X509_NAME *subject = X509_get_subject_name(cert);
    must(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                    -1, 0));
    must(X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject));
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer ? issuer : cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext =
        X509V3_EXT_conf_nid(NULL, &ctx, issuer ? NID_subject_alt_name : NID_basic_constraints,
                            issuer ? san : "critical,CA:TRUE");
    must(ext && X509_add_ext(cert, ext, -1));
    X509_EXTENSION_free(ext);
    must(X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha256()) > 0);
    return cert;
}

void test_ca_make(struct test_ca *ca, const char *name, const char *path)
{
    ca->key = EVP_EC_gen("P-256");
    ca->cert = make_cert(ca->key, name, NULL, NULL, NULL);
    write_pem(path, ca->cert, NULL);
}

void test_ca_sign(const struct test_ca *ca, const char *dns, const char *dir, const char *file)
{
    char path[512], san[256];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    snprintf(san, sizeof(san), "DNS:%s,IP:127.0.0.1", dns);
    X509 *cert = make_cert(key, dns, ca->cert, ca->key, san);
    snprintf(path, sizeof(path), "%s/%s.crt", dir, file);
    write_pem(path, cert, NULL);
    snprintf(path, sizeof(path), "%s/%s.key", dir, file);
    write_pem(path, NULL, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

void test_ca_free(struct test_ca *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

"""Certificates for tests, made by the openssl command."""
import subprocess


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=30)


def make_certificates(folder, names=("server", "client")):
    """<folder>/ca.crt, and NAME.crt and NAME.key for each name: signed by it, for NAME.test and 127.0.0.1."""
    ca = folder / "ca.crt"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
            "-subj", "/CN=test ca", "-keyout", folder / "ca.key", "-out", ca)
    for name in names:
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}.test",
                "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr")
        (folder / "ext").write_text(f"subjectAltName=DNS:{name}.test,IP:127.0.0.1\n", "ascii")
        openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", ca, "-CAkey", folder / "ca.key",
                "-CAcreateserial", "-days", 2, "-extfile", folder / "ext", "-out", folder / f"{name}.crt")

"""Who is who in the tests' own cluster: one authority, one certificate, tokens for the components.

The certificate serves the API server and the kubelet alike, and is what the API server shows to
the kubelet. Keys and tokens live in a temporary folder and die with it.
"""

from __future__ import annotations

import secrets
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.api import Access

if TYPE_CHECKING:
    from pathlib import Path

NODE = "node-1"

_USERS = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    NODE: (f"system:node:{NODE}", "system:nodes"),
}
"""File name → user and group, as RBAC's defaults name them."""

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = "2"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files, and who may do what with them."""

    folder: Path
    server: str

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def certificate(self) -> Path:
        return self.folder / "server.crt"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"

    @property
    def accounts_key(self) -> Path:
        """Signs the tokens of service accounts, and checks them."""
        return self.folder / "accounts.key"

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens.csv"

    def kubeconfig(self, user: str) -> Path:
        return self.folder / f"{user}.kubeconfig"

    @property
    def admin(self) -> Access:
        return Access.from_kubeconfig(self.kubeconfig("admin"))


def make(folder: Path, *, server: str, addresses: tuple[str, ...]) -> Credentials:
    """In an empty folder; `addresses` are the ones that the certificate is good for."""
    made = Credentials(folder, server)
    folder.chmod(0o700)
    authority = ("req", "-x509", *_NEW_KEY, "-days", _DAYS, "-subj", "/CN=e2e")
    _openssl(*authority, "-keyout", str(folder / "ca.key"), "-out", str(made.ca))
    request = folder / "server.csr"
    subject = ("-subj", "/CN=kube-apiserver")
    _openssl("req", *_NEW_KEY, *subject, "-keyout", str(made.key), "-out", str(request))
    names = ",".join(["DNS:localhost", *(f"IP:{each}" for each in addresses)])
    extensions = folder / "server.ext"
    extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
    signing = ("x509", "-req", "-in", str(request), "-days", _DAYS, "-CAcreateserial")
    by = ("-CA", str(made.ca), "-CAkey", str(folder / "ca.key"), "-extfile", str(extensions))
    _openssl(*signing, *by, "-out", str(made.certificate))
    # of the old form, from which the API server takes the public half too
    plain = ("ecparam", "-genkey", "-noout", "-name", "prime256v1")
    _openssl(*plain, "-out", str(made.accounts_key))
    rows = []
    for number, (name, (user, group)) in enumerate(_USERS.items()):
        token = secrets.token_hex(20)
        rows.append(f'{token},{user},{number},"{group}"')
        access = Access(server=server, ca=made.ca.read_text(), token=token)
        access.write_kubeconfig(made.kubeconfig(name))
    made.tokens.write_text("\n".join(rows) + "\n")
    return made


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")

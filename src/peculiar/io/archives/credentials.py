"""User and password of an archive: from the environment, netrc or the keyring; never from or to a file of ours."""

import importlib
import netrc
import os

SERVICE = "peculiar"  # the keyring's entries are "peculiar:<host>"


def find_credentials(host: str, variables: tuple[str, str]) -> tuple[str, str]:
    """Find user and password: the two environment variables, then netrc's entry of the host, then the keyring's.

    Raises
    ------
    PermissionError
        There are none, naming all three places.
    """
    user, password = (os.environ.get(each, "") for each in variables)
    if user and password:
        return user, password
    found = _from_netrc(host) or _from_keyring(host, user)
    if found is None:
        raise PermissionError(
            f"{host} wants an account: set {variables[0]} and {variables[1]}, or write a line for {host} into ~/.netrc "
            f'(mode 600), or "keyring set {SERVICE}:{host} USER"'
        )
    return found


def _from_netrc(host: str) -> tuple[str, str] | None:
    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except FileNotFoundError:
        return None
    except netrc.NetrcParseError as error:  # its text may quote a token of the file
        raise PermissionError(f"netrc cannot be read (line {error.lineno}); mend it, or its mode") from None
    return (found[0], found[2] or "") if found and found[0] else None


def _from_keyring(host: str, user: str) -> tuple[str, str] | None:
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        return None
    try:
        found = keyring.get_credential(f"{SERVICE}:{host}", user or None)
    except keyring.errors.KeyringError:  # no keyring on this machine, or one that is locked
        return None
    return None if found is None else (found.username, found.password)

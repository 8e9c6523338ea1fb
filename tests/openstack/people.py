# SPDX-License-Identifier: Apache-2.0
"""Users of the lab beside its own: made once, with a role each, and tokens of theirs."""
import json

JSON = {"Content-Type": "application/json"}


def one(cloud, kind, name):
    _, _, body = cloud.http("GET", f"{cloud['OS_AUTH_URL']}/{kind}?name={name}")
    found = json.loads(body)[kind]
    return found[0]["id"] if found else None


def ensure(cloud, kind, name, **more):
    ident = one(cloud, kind, name)
    if ident is None:
        _, _, body = cloud.http("POST", f"{cloud['OS_AUTH_URL']}/{kind}", json.dumps({kind[:-1]: {"name": name, **more}}).encode(), JSON)
        ident = json.loads(body)[kind[:-1]]["id"]
    return ident


def token_of(cloud, name, project, role):
    """Of a user who has ROLE, and nothing else, in PROJECT."""
    user = ensure(cloud, "users", name, password=cloud["OS_PASSWORD"], domain_id="default")
    in_project = ensure(cloud, "projects", project, domain_id="default")
    cloud.http("PUT", f"{cloud['OS_AUTH_URL']}/projects/{in_project}/users/{user}/roles/{ensure(cloud, 'roles', role)}", b"")
    return cloud.token(name, project)


def everyone(cloud):
    """Two tenants, a reader in the first one's project, an admin, a service user, nobody, and somebody whose token is none."""
    return {"member": cloud.token("demo", "demo"), "other": token_of(cloud, "gcfs-other", "gcfs-other", "member"),
            "reader": token_of(cloud, "gcfs-reader", "demo", "reader"), "admin": cloud.token(), "service": cloud.token("glance", "service"),
            "nonsense": "nonsense", "nobody": None}

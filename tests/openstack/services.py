# SPDX-License-Identifier: Apache-2.0
"""
The code of nova, cinder, ironic and glance, from the Debian packages, as clients: each piece runs in a Python of its own, as these programs
set it up, without a database, a message bus or a hypervisor.
"""
import json
import os
import subprocess

import pytest

from waiting import PATIENCE

PYTHON = "/usr/bin/python3"  # the packages are the system's

# The values of the test are in the dict V; what is in `result` at the end goes back.
BEGIN = """
import json, os, sys, hashlib
V, result = json.loads(sys.argv[1]), {}
def sha(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(f.read()).hexdigest()
"""
END = """
print("\\n" + json.dumps(result, default=str))
"""

SET_UP = {
    "nova": """
with open(V["work"] + "/nova.conf", "w") as f:
    f.write(f'''[DEFAULT]
instances_path = {V["work"]}
state_path = {V["work"]}
[glance]
api_servers = {V.get("url", "http://127.0.0.1:1")}
num_retries = 0
[oslo_concurrency]
lock_path = {V["work"]}/locks
''')
import nova.conf
from nova import config, context, exception, objects
nova.conf.CONF(["--config-file", V["work"] + "/nova.conf"], project="nova")
objects.register_all()
import nova.privsep
nova.privsep.sys_admin_pctxt.set_client_mode(False)
from nova.compute import utils as compute_utils
compute_utils.disk_ops_semaphore = compute_utils.UnlimitedSemaphore()
from nova.image import glance
from nova.virt import images, imagecache
ctx = context.RequestContext(user_id="u", project_id="p", auth_token=V.get("token"), roles=["member"], service_catalog=[])
api = glance.API()
""",
    "cinder": """
import cinder.objects
cinder.objects.register_all()
from cinder import context, exception
from oslo_config import cfg
from cinder.image import glance, image_utils
from cinder.volume import configuration
import cinder.volume.manager
CONF = cfg.CONF
CONF([], project="cinder", default_config_files=[])
for name, value in (("glance_api_servers", [V["url"]]), ("auth_strategy", "keystone"), ("image_conversion_dir", V["work"]), ("state_path", V["work"]),
                    ("glance_num_retries", 0), ("allowed_direct_url_schemes", V.get("schemes", []))):
    CONF.set_override(name, value)
CONF.set_override("lock_path", V["work"], group="oslo_concurrency")
ctx = context.RequestContext(user_id="u", project_id="p", auth_token=V["token"], is_admin=False, service_catalog=[])
service = glance.get_default_image_service()
""",
    "ironic": """
from oslo_config import cfg
from ironic.conf import CONF
from ironic.common import context, image_service
from ironic.common.glance_service import image_service as glance_service
CONF([], project="ironic", default_config_files=[])
CONF.set_override("endpoint_override", V["url"], group="glance")
CONF.set_override("auth_type", "none", group="glance")
CONF.set_override("num_retries", 0, group="glance")
CONF.set_override("lock_path", V["work"], group="oslo_concurrency")
ctx = context.RequestContext(auth_token=V.get("token"), user_id="u", project_id="p")
""",
    "glance": """
from oslo_config import cfg
import glance.common.config
from glance import image_cache
CONF = cfg.CONF
CONF([], project="glance", default_config_files=[])
CONF.set_override("image_cache_dir", V["view"])
CONF.set_override("image_cache_driver", V["driver"])
images = image_cache.ImageCache()
""",
}


def run_as(service, code, **values):
    """Runs CODE as SERVICE; its `result`."""
    there = subprocess.run([PYTHON, "-c", f"import {service}"], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60 * PATIENCE)
    if there.returncode != 0:
        pytest.skip(f"python3-{service} is not installed: tests/install-deps openstack")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "PYTHON"))}
    done = subprocess.run([PYTHON, "-c", BEGIN + SET_UP[service] + code + END, json.dumps(values)], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=300 * PATIENCE, cwd="/", check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])

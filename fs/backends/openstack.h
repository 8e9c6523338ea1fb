/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the backends of OpenStack services share: logging in (Keystone, or Swift's TempAuth), and where the service is: at the
 * configured endpoints, else where the login's answer says. Any thread; nothing blocks but openstack_open(), which reads files
 * of secrets. Only the token changes afterwards, see token.h.
 */
#ifndef GCFS_OPENSTACK_H
#define GCFS_OPENSTACK_H

#include "backends/backend.h"

struct openstack;

/* TYPE: the service's in Keystone's catalogue. STRIP: an end of its urls that callers add themselves ("/v2"); NULL. */
int openstack_open(const struct config *config, const char *type, const char *strip, struct openstack **ret,
                   char message[CONFIG_MESSAGE_MAX]);
void openstack_close(struct openstack *o); /* NULL is fine */

unsigned openstack_endpoints(const struct openstack *o);
const char *openstack_endpoint_name(const struct openstack *o, unsigned endpoint);

/* Fills REQUEST with the url of PATH ("/v2/images", escaped) at the service, and the token. -EAGAIN: not logged in yet; -ENOMEM. */
int openstack_ask(struct openstack *o, unsigned endpoint, const char *path, struct transfer_request *request);

/* As the functions of backend_ops, where they are described. */
enum auth_need openstack_auth_needed(struct openstack *o);
const char *openstack_auth_name(const struct openstack *o);
int openstack_auth(struct openstack *o, struct transfer_request *request);
int openstack_auth_head(struct openstack *o, const struct transfer_head *head, const char **ret_why);
int openstack_authorised(struct openstack *o, const void *body, size_t length, const char **ret_why);
unsigned openstack_credential(struct openstack *o);
bool openstack_refused(struct openstack *o, unsigned credential);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of all options, and the two texts made from it: the configuration in force and the sample file. The
 * table is the one place that knows an option's bounds and default; conf/glance-cache.conf and the man page are tested
 * against it.
 */
#include "config-auto.h"

#include "config/config.h"

#include <string.h>

#include "config/value.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

enum { DAY = 86400, YEAR = 365 * DAY };

static const char *const log_levels[] = {"error", "warning", "notice", "info", "debug", NULL};
static const char *const fetch_policies[] = {[FETCH_WHOLE] = "whole", [FETCH_DEMAND] = "demand", NULL};
static const char *const passthrough_modes[] = {[PASSTHROUGH_AUTO] = "auto", [PASSTHROUGH_OFF] = "off", NULL};
static const char *const view_modes[] = {[VIEW_FOR_ALL] = "0444", [VIEW_FOR_GROUP] = "0440", [VIEW_FOR_OWNER] = "0400", NULL};
static const char *const view_names[] = {"glance", "nova", "none", NULL};
static const char *const backend_types[] = {"file", "http", "glance", "swift", "s3", NULL};
static const char *const addressings[] = {[ADDRESSING_AUTO] = "auto", [ADDRESSING_PATH] = "path",
                                         [ADDRESSING_VIRTUAL] = "virtual", NULL};
static const char *const credentials[] = {[CREDENTIALS_AUTO] = "auto", [CREDENTIALS_KEYS] = "keys", [CREDENTIALS_FILE] = "file",
                                          [CREDENTIALS_CONTAINER] = "container", [CREDENTIALS_INSTANCE] = "instance",
                                          [CREDENTIALS_NONE] = "none", NULL};
static const char *const api_auths[] = {[API_AUTH_NONE] = "none", [API_AUTH_TOKEN] = "token",
                                        [API_AUTH_KEYSTONE] = "keystone", NULL};

static const char *const direct_urls[] = {[DIRECT_URL_NONE] = "none", [DIRECT_URL_FILE] = "file", NULL};

static const char *const interfaces[] = {"public", "internal", "admin", NULL};

#define DEFAULT(member) .section = "DEFAULT", .name = #member, .offset = offsetof(struct config, member)
#define BACKEND_AS(option, member) .section = "backend", .name = option, .offset = offsetof(struct config, member)
#define BACKEND(member) BACKEND_AS(#member, member)
#define API_AS(option, member) .section = "api", .name = option, .offset = offsetof(struct config, api.member)
#define API(member) API_AS(#member, member)

static const struct config_option options[] = {
    {DEFAULT(image_cache_dir), .type = CONFIG_PATH, .required = true, .example = "/var/lib/glance/image-cache",
     .text = "The directory that holds the cache. It must exist and be on a local file system; nothing else may "
             "write to it. A cache directory of Glance is taken over as it is."},
    {DEFAULT(image_cache_max_size), .type = CONFIG_SIZE, .fallback = "10G", .min = 0, .max = 1024 * 1024 * TIB,
     .unit = "bytes",
     .text = "How much the cached images may take together. Beyond it, those least recently used go first. With 0, "
             "nothing is kept."},
    {DEFAULT(image_cache_stall_time), .type = CONFIG_SECONDS, .fallback = "86400", .min = 0, .max = 10ULL * YEAR,
     .unit = "seconds",
     .text = "An incomplete image that nobody reads and that has made no progress for so long is removed by the "
             "cleaner."},
    {DEFAULT(image_cache_sqlite_db), .type = CONFIG_STRING, .fallback = "cache.db",
     .text = "The name of Glance's index in the cache directory. When it is there, access times and hits are taken "
             "over from it, once."},
    {DEFAULT(log_level), .type = CONFIG_CHOICE, .choices = log_levels, .fallback = "info",
     .text = "Messages less urgent than this are not logged."},
    {DEFAULT(min_free), .type = CONFIG_SHARE, .fallback = "5%", .min = 0, .max = 1024 * 1024 * TIB, .unit = "bytes",
     .text = "How much of the cache directory's file system the cache leaves free, as a size or a percentage."},
    {DEFAULT(evict_inline), .type = CONFIG_BOOL, .fallback = "yes",
     .text = "Whether the cache keeps image_cache_max_size and min_free by itself: before a fetch would exceed them, "
             "the images used longest ago that are neither open nor pinned are evicted. With no, the cache grows "
             "until glance-cache-pruner runs."},
    {DEFAULT(cache_ttl), .type = CONFIG_SECONDS, .fallback = "0", .min = 0, .max = 10ULL * YEAR, .unit = "seconds",
     .text = "An image that nobody has read for so long is evicted, unless it is open or pinned. 0: never."},
    {DEFAULT(revalidate), .type = CONFIG_INTERVAL, .fallback = "never", .min = 1, .max = YEAR, .unit = "seconds",
     .text = "Whether opening a cached image asks the backend first if it is still the same: never, on-open, or at "
             "most once in so many seconds. One that changed or is gone is evicted; a backend that cannot be reached "
             "does not keep what is cached from being served."},
    {DEFAULT(fetch_policy), .type = CONFIG_ENUM, .choices = fetch_policies, .fallback = "whole",
     .text = "whole: an image of which enough has been read (fetch_whole_after) is fetched to its end in the "
             "background. demand: only what is read is fetched, and a little ahead; images stay sparse until all of "
             "it has been read."},
    {DEFAULT(fetch_whole_after), .type = CONFIG_SIZE, .fallback = "8M", .min = 0, .max = 1024 * 1024 * TIB,
     .unit = "bytes",
     .text = "With fetch_policy = whole: the bytes asked of an image before the rest follows, so that a look at its "
             "header does not fetch all of it."},
    {DEFAULT(streams), .type = CONFIG_COUNT, .fallback = "4", .min = 1, .max = 32, .unit = "connections",
     .text = "How many connections fetch one image in the background at most: one while that is enough."},
    {DEFAULT(read_ahead_max), .type = CONFIG_SIZE, .fallback = "8M", .min = 0, .max = GIB, .unit = "bytes",
     .text = "How far ahead of a sequential reader bytes are asked for. The distance grows fourfold with each of "
             "his requests, up to this, and on a slow link up to what comes in the time of two answers."},
    {DEFAULT(bootset_max), .type = CONFIG_SIZE, .fallback = "256M", .min = 0, .max = 16 * GIB, .unit = "bytes",
     .text = "The most that a boot set holds, and a fifth of its image. It is what was read of an image that was opened while it was not "
             "in the cache, and is asked for at once when that happens again. 0: nothing is recorded and nothing asked for."},
    {DEFAULT(bootset_quiet), .type = CONFIG_SECONDS, .fallback = "30", .min = 0, .max = DAY, .unit = "seconds",
     .text = "A boot is over when no part of its image was read for the first time for so long. 0: when nobody "
             "has it open any more."},
    {DEFAULT(prefetch_concurrency), .type = CONFIG_COUNT, .fallback = "4", .min = 1, .max = 64, .unit = "images",
     .text = "How many queued images are fetched at the same time."},
    {DEFAULT(prefetch_tries), .type = CONFIG_COUNT, .fallback = "5", .min = 1, .max = 100, .unit = "tries",
     .text = "How often a queued image is tried before it is given up and stands in invalid/ with the reason."},
    {DEFAULT(prefetch_retry_delay), .type = CONFIG_SECONDS, .fallback = "30", .min = 0, .max = DAY, .unit = "seconds",
     .text = "How long a queued image waits after its first failure; the wait doubles with each further one, up to "
             "an hour or so."},
    {DEFAULT(background_rate), .type = CONFIG_SIZE, .fallback = "0", .min = 0, .max = TIB, .unit = "bytes per second",
     .text = "The limit for all fetches that nobody waits for, together: the rest of images, and prefetches. "
             "0: no limit."},
    {DEFAULT(list_ttl), .type = CONFIG_SECONDS, .fallback = "60", .min = 0, .max = DAY, .unit = "seconds",
     .text = "How long a listing of the backend is good for before images/ is listed afresh."},
    {DEFAULT(list_max), .type = CONFIG_COUNT, .fallback = "1000000", .min = 1, .max = 10000000, .unit = "images",
     .text = "How many images of a listing of the backend are taken. Further ones are not shown in images/, but can be opened. Of "
             "those known, three times as many at most are remembered."},
    {DEFAULT(user), .type = CONFIG_STRING, .example = "glance",
     .text = "Started by root: the user who does the work and owns the cache directory and what is in it. Without it, "
             "glance if there is such a user, else nobody. The files with secrets are read before; certificates, their key and the "
             "images of type = file must be readable by this user. Started by another user, it is not used."},
    {DEFAULT(group), .type = CONFIG_STRING, .example = "glance",
     .text = "The group that goes with user. Without it, the one of that user."},
    {DEFAULT(view_mode), .type = CONFIG_ENUM, .choices = view_modes, .fallback = "0444",
     .text = "Who may read the files of the mount, where others than its owner see it (allow_other): 0444 everybody on this machine, "
             "0440 the group of view_group, 0400 nobody else. Only the owner may change anything."},
    {DEFAULT(view_group), .type = CONFIG_STRING, .example = "kvm",
     .text = "The group that the files of the mount belong to. Without it, the one that the program runs as."},
    {DEFAULT(views), .type = CONFIG_WORDS, .choices = view_names, .fallback = "none", .count_offset = offsetof(struct config, view_count),
     .text = "Further folders of the mount. glance: glance/, for image_cache_dir of Glance's own glance-api. nova: nova/, the images by the "
             "names that nova-compute gives its base images, so that it starts machines from the mount. See glance-cache-fs(8)."},
    {DEFAULT(passthrough), .type = CONFIG_ENUM, .choices = passthrough_modes, .fallback = "auto",
     .text = "auto: the kernel reads cached images by itself where it can (Linux 6.9, started by root). off: never. It "
             "is looked at when mounting, not on SIGHUP."},

    {BACKEND(type), .type = CONFIG_CHOICE, .choices = backend_types, .fallback = "file",
     .text = "Where the images come from. file: a folder. http: a web server, by http:// or https:// urls. glance: the image "
             "service of OpenStack. swift: a container of OpenStack's object store. s3: a bucket of S3 or of a service "
             "like it."},
    {BACKEND_AS("path", directory), .type = CONFIG_PATH, .required_for = "file", .example = "/srv/images",
     .text = "With type = file: the folder that holds the images. It may not be in the cache directory."},
    {BACKEND_AS("url", urls), .type = CONFIG_WORDS, .required_for = "http",
     .count_offset = offsetof(struct config, url_count), .example = "https://images.example.org/{id}",
     .text = "With type = http: where an image is; {id} stands for its id, and without it /{id} is appended. Several "
             "urls, blank-separated or each on an indented line, are tried in turn. A password does not belong here: "
             "see user_file and token_file."},
    {BACKEND(list_url), .type = CONFIG_STRING, .example = "https://images.example.org/",
     .text = "The page that lists the images: JSON of nginx's autoindex, or a plain index page. Without it, the url "
             "up to {id}, when {id} ends it. none: the backend cannot list."},
    {BACKEND_AS("checksums", checksum_files), .type = CONFIG_WORDS, .fallback = "SHA512SUMS SHA256SUMS",
     .count_offset = offsetof(struct config, checksum_file_count),
     .text = "The names of files of digests beside the images, in the order they are asked for. An image that one of "
             "them names is verified. Lines as of sha256sum or BSD's, signed in clear or not (see "
             "checksum_keyring); a name such as CHECKSUM will do. none: do not ask."},
    {BACKEND(checksum_keyring), .type = CONFIG_PATH, .example = "/etc/glance-cache/keyring.gpg",
     .text = "A keyring, as gpg --export writes it. Files of digests then count only when gpgv(1) says that a key in it signed them: in "
             "clear, or in a file beside them that ends in .gpg, .asc, .sign or .sig. Without it, signatures are not looked at."},
    {BACKEND(user_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/user",
     .text = "A file with one line, user:password, for basic authentication."},
    {BACKEND(token_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/token",
     .text = "A file with one line, a bearer token."},
    {BACKEND_AS("endpoint", endpoints), .type = CONFIG_WORDS, .count_offset = offsetof(struct config, endpoint_count),
     .example = "https://glance.example.org:9292",
     .text = "With type = glance, swift or s3: where the service is; several, blank-separated or each on an indented line, "
             "are tried in turn. Of Swift, the storage url with the account. Without it, what Keystone's catalogue or "
             "TempAuth says, or Amazon's service of the region. With it and no auth_url, glance and swift are asked "
             "without a token."},
    {BACKEND(region), .type = CONFIG_STRING, .example = "RegionOne",
     .text = "The region, in Keystone's catalogue or of S3. Without it, OS_REGION_NAME, and the first in the catalogue; for "
             "s3 AWS_REGION, AWS_DEFAULT_REGION, and us-east-1."},
    {BACKEND(interface), .type = CONFIG_STRING, .example = "internal",
     .text = "Which urls of Keystone's catalogue to use: public, internal or admin. Without it, OS_INTERFACE, and public."},
    {BACKEND(auth_url), .type = CONFIG_STRING, .example = "https://keystone.example.org:5000/v3",
     .text = "With type = glance or swift: where to log in. Keystone (version 3), or Swift's own TempAuth when it ends in "
             "/v1.0. Without it, OS_AUTH_URL."},
    {BACKEND(username), .type = CONFIG_STRING, .example = "glance-cache",
     .text = "The user to log in as, for TempAuth account:user. Without it, OS_USERNAME."},
    {BACKEND(password_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/password",
     .text = "A file with one line, the user's password. Without it, OS_PASSWORD."},
    {BACKEND(user_domain_id), .type = CONFIG_STRING, .example = "default",
     .text = "The domain of the user. Without it and user_domain_name, OS_USER_DOMAIN_ID or OS_USER_DOMAIN_NAME, and the "
             "domain with the id default."},
    {BACKEND(user_domain_name), .type = CONFIG_STRING, .example = "Default", .text = "The same by its name."},
    {BACKEND(project_name), .type = CONFIG_STRING, .example = "service",
     .text = "The project whose images and containers are seen. Without it and project_id, OS_PROJECT_ID or "
             "OS_PROJECT_NAME."},
    {BACKEND(project_id), .type = CONFIG_STRING, .example = "5d34163f792c4cb7b744d8e5d1d814a7",
     .text = "The same by its id."},
    {BACKEND(project_domain_id), .type = CONFIG_STRING, .example = "default",
     .text = "The domain of project_name. Without it and project_domain_name, OS_PROJECT_DOMAIN_ID or "
             "OS_PROJECT_DOMAIN_NAME, and the domain with the id default."},
    {BACKEND(project_domain_name), .type = CONFIG_STRING, .example = "Default", .text = "The same by its name."},
    {BACKEND(application_credential_id), .type = CONFIG_STRING, .example = "1afa001b4d0042308b18052911b0431f",
     .text = "The id of an application credential, to log in with instead of a user's password. Without it and username, "
             "OS_APPLICATION_CREDENTIAL_ID."},
    {BACKEND(application_credential_secret_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/secret",
     .text = "A file with one line, the secret of application_credential_id. Without it, "
             "OS_APPLICATION_CREDENTIAL_SECRET."},
    {BACKEND(container), .type = CONFIG_STRING, .required_for = "swift", .example = "images",
     .text = "With type = swift: the container that holds the images."},
    {BACKEND(bucket), .type = CONFIG_STRING, .required_for = "s3", .example = "images",
     .text = "With type = s3: the bucket that holds the images."},
    {BACKEND(prefix), .type = CONFIG_STRING, .example = "images/",
     .text = "With type = swift or s3: what stands before the id in an object's name. Names behind it that hold a / are not "
             "images."},
    {BACKEND(addressing), .type = CONFIG_ENUM, .choices = addressings, .fallback = "auto",
     .text = "With type = s3: where the bucket's name stands. path: in the path. virtual: before the host. auto: virtual "
             "for Amazon's hosts, else path."},
    {BACKEND(credentials), .type = CONFIG_ENUM, .choices = credentials, .fallback = "auto",
     .text = "With type = s3: where the key comes from. keys: access_key, or AWS_ACCESS_KEY_ID of the environment. file: "
             "credentials_file. container: the service that AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI names. instance: "
             "the role of this instance of EC2. none: requests are not signed. auto: the first of keys, file and container that is "
             "given, else none."},
    {BACKEND(access_key), .type = CONFIG_STRING, .example = "AKIAIOSFODNN7EXAMPLE",
     .text = "With type = s3: the access key; its secret is in secret_key_file. Without it, credentials_file is looked at, "
             "then AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, then AWS_SHARED_CREDENTIALS_FILE."},
    {BACKEND(secret_key_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/secret-key",
     .text = "A file with one line, the secret of access_key."},
    {BACKEND(credentials_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/credentials",
     .text = "A shared-credentials file, as other programs for S3 have it in ~/.aws/credentials."},
    {BACKEND(profile), .type = CONFIG_STRING, .example = "images",
     .text = "The section of credentials_file. Without it, AWS_PROFILE, and default."},
    {BACKEND(request_payer), .type = CONFIG_BOOL, .fallback = "no",
     .text = "With type = s3: agree to be charged for what is read of a bucket whose readers pay (x-amz-request-payer)."},
    {BACKEND(ca_file), .type = CONFIG_PATH, .example = "/etc/ssl/certs/ca-certificates.crt",
     .text = "The certificates (PEM) of the authorities to trust, instead of the system's."},
    {BACKEND(client_cert_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/client.crt",
     .text = "The certificate (PEM) to show to the server."},
    {BACKEND(client_key_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/client.key",
     .text = "The key (PEM) of client_cert_file, when it is not in the same file."},
    {BACKEND(insecure), .type = CONFIG_BOOL, .fallback = "no",
     .text = "Accept any certificate of the server. Whoever sits between can then change the images."},
    {BACKEND(proxy), .type = CONFIG_STRING, .example = "http://proxy.example.org:3128",
     .text = "The proxy for all requests. Without it, that of the environment: http_proxy, https_proxy, no_proxy."},
    {BACKEND(connect_timeout), .type = CONFIG_SECONDS, .fallback = "10", .min = 1, .max = 3600, .unit = "seconds",
     .text = "How long connecting may take."},
    {BACKEND(stall_timeout), .type = CONFIG_SECONDS, .fallback = "30", .min = 1, .max = 3600, .unit = "seconds",
     .text = "A transfer slower than stall_rate for so long is given up and tried again. How long it takes in all "
             "does not matter."},
    {BACKEND(stall_rate), .type = CONFIG_SIZE, .fallback = "1024", .min = 1, .max = GIB, .unit = "bytes per second",
     .text = "See stall_timeout."},
    {BACKEND(retries), .type = CONFIG_COUNT, .fallback = "6", .min = 0, .max = 100, .unit = "times",
     .text = "How often a failed request for bytes that somebody waits for is tried again before the read fails."},
    {BACKEND(retry_delay), .type = CONFIG_MILLISECONDS, .fallback = "250", .min = 1, .max = 30000,
     .unit = "milliseconds",
     .text = "The pause before the first retry. It doubles with each, with some chance in it, up to 10 seconds; a "
             "Retry-After of the server counts in its place, up to 10 seconds as well."},

    {API(mount), .type = CONFIG_PATH, .example = "/srv/glance",
     .text = "For glance-cache-api: where the cache is mounted. Its option --mount goes before it. Without either, the "
             "cache must be mounted when it starts, and is found."},
    {API(listen), .type = CONFIG_WORDS, .count_offset = offsetof(struct config, api.listen_count),
     .fallback = "127.0.0.1:9292",
     .text = "Where glance-cache-api listens: one or more of address:port; an IPv6 address stands in brackets."},
    {API(auth), .type = CONFIG_ENUM, .choices = api_auths, .fallback = "none",
     .text = "Who may use glance-cache-api. none: everyone on this machine, and it listens on loopback addresses only. "
             "token: whoever shows the token of admin_token_file. keystone: tokens of Keystone."},
    {API(admin_token_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/admin-token",
     .text = "With auth = token: a file with one line, the token that management and downloads need, as X-Auth-Token "
             "or Authorization: Bearer."},
    {API(reader_token_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/reader-token",
     .text = "With auth = token: a file with one line, a token that is good for downloads and for looking at the state of "
             "the cache, but changes nothing."},
    {API(temp_url_key_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/temp-url-key",
     .text = "A file with one line, the key of signed links: /v1/account/container/id?temp_url_sig=...&temp_url_expires=... gives the "
             "image to everyone who has the link, whatever auth says, as Swift's TempURL does and Ironic uses it. Without it there "
             "are none."},
    {API(server_names), .type = CONFIG_WORDS, .count_offset = offsetof(struct config, api.server_name_count),
     .example = "images.example.org",
     .text = "With auth = none: names under which a browser may reach the server, besides addresses and localhost. "
             "Requests for other names are refused, so that no web page can reach the cache by a name of its own."},
    {API(auth_url), .type = CONFIG_STRING, .example = "https://keystone.example.org:5000/v3",
     .text = "With auth = keystone: where tokens are validated."},
    {API(image_url), .type = CONFIG_STRING, .example = "https://glance.example.org:9292",
     .text = "With auth = keystone: the Glance that is asked, with the caller's token, whether the caller may download an "
             "image, and for what it knows of images. Without it, upstream is."},
    {API(upstream), .type = CONFIG_WORDS, .count_offset = offsetof(struct config, api.upstream_count), .example = "https://glance.example.org:9292",
     .text = "The Glance that every call goes to which is not this server's own, and back: uploads, changes, lists. Clients then need one "
             "url for all. Images, /v2/cache, /status, /metrics, /healthcheck and the page stay here. Of several the next is tried when one "
             "cannot be connected to. catalog: where Keystone's catalogue says, once a client has shown a token. Without it there is no "
             "pass-through."},
    {API(upstream_region), .type = CONFIG_STRING, .example = "RegionOne", .text = "With upstream = catalog: the region; without it, any."},
    {API(upstream_interface), .type = CONFIG_CHOICE, .choices = interfaces, .fallback = "public",
     .text = "With upstream = catalog: which of Glance's endpoints. When the catalogue's public one leads to this server, it is another one."},
    {API(upstream_timeout), .type = CONFIG_SECONDS, .fallback = "300", .min = 1, .max = DAY, .unit = "seconds",
     .text = "How long upstream may be silent while it is waited for: for its answer, for more of it, or to take more of an upload. Then the "
             "client gets 503, or its answer ends. There is no limit for all of a call."},
    {API(keep_uploads), .type = CONFIG_BOOL, .fallback = "yes",
     .text = "With upstream: keep an image in the cache as it is uploaded, so that a snapshot is warm where it was made. It is in the cache when "
             "the backend says that it has the same, by its digest. No upload waits for the disk longer than a second. With auth = token nothing is kept."},
    {API(admin_roles), .type = CONFIG_WORDS, .count_offset = offsetof(struct config, api.admin_role_count),
     .fallback = "admin", .text = "With auth = keystone: the roles that may manage the cache."},
    {API(service_token_roles), .type = CONFIG_WORDS, .count_offset = offsetof(struct config, api.service_token_role_count),
     .fallback = "service",
     .text = "With auth = keystone: the roles of services that act for a user, as X-Service-Token says: the user's token may "
             "have expired meanwhile."},
    {API(token_ttl), .type = CONFIG_SECONDS, .fallback = "300", .min = 0, .max = DAY, .unit = "seconds",
     .text = "How long a validated token is good for without asking Keystone again; never longer than until it "
             "expires."},
    {API(auth_ttl), .type = CONFIG_SECONDS, .fallback = "60", .min = 0, .max = DAY, .unit = "seconds",
     .text = "How long Glance's answer whether somebody may download an image is good for."},
    {API(document_ttl), .type = CONFIG_SECONDS, .fallback = "0", .min = 0, .max = 3600, .unit = "seconds",
     .text = "With auth = keystone: how long what Glance answered about an active image, and its schemas, are given again without asking it, to who "
             "has the same user, project and roles. Changes made through this server are seen at once, others after so long."},
    {API(stale_if_error), .type = CONFIG_SECONDS, .fallback = "0", .min = 0, .max = 30 * DAY, .unit = "seconds",
     .text = "With auth = keystone: how long what was seen before counts while Keystone or Glance are away: a token that was good is good until it "
             "ends, who could have an image still can, and sees of Glance what the same user, project and roles have seen. A right that is withdrawn "
             "meanwhile lasts as long."},
    {API(document_cache_size), .type = CONFIG_SIZE, .fallback = "16777216", .min = 64 * KIB, .max = 4 * GIB, .unit = "bytes",
     .text = "How much memory what Glance answered may take, for document_ttl and stale_if_error. What was used longest ago goes first."},
    {API(direct_url), .type = CONFIG_ENUM, .choices = direct_urls, .fallback = "none",
     .text = "file: programs of this host who may download an image are told where it is in the mount, as direct_url and locations of Glance's "
             "records have it; cinder (allowed_direct_url_schemes = file) then reads it there. With upstream it needs "
             "auth = keystone; proxies on this host belong into trusted_proxies, or their clients count as programs of this host."},
    {API(auth_ca_file), .type = CONFIG_PATH, .example = "/etc/ssl/certs/ca-certificates.crt",
     .text = "The certificates (PEM) of the authorities to trust for auth_url, image_url and upstream, instead "
             "of the system's."},
    {API(tls_cert_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/api.crt",
     .text = "The certificate (PEM, with its chain) of the server: it then speaks https only."},
    {API(tls_key_file), .type = CONFIG_PATH, .example = "/etc/glance-cache/api.key",
     .text = "The key (PEM) of tls_cert_file, when it is not in the same file."},
    {API(trusted_proxies), .type = CONFIG_WORDS, .count_offset = offsetof(struct config, api.trusted_proxy_count),
     .example = "127.0.0.1 10.0.0.0/24",
     .text = "Addresses and networks of proxies before this server. What they say of the client is believed: X-Forwarded-For "
             "(its address), X-Forwarded-Proto and X-Forwarded-Host (what links in answers begin with). "
             "max_connections_per_address does not count for them."},
    {API(max_connections), .type = CONFIG_COUNT, .fallback = "4096", .min = 8, .max = 30000, .unit = "connections",
     .text = "How many clients may be connected at the same time. Further ones are disconnected at once; the log says so, and "
             "/metrics counts them."},
    {API(max_connections_per_address), .type = CONFIG_COUNT, .fallback = "1024", .min = 0, .max = 30000,
     .unit = "connections",
     .text = "How many of them may come from one address (with IPv6: one /64), at most three quarters. 0: no limit of its own."},
    {API(request_timeout), .type = CONFIG_SECONDS, .fallback = "60", .min = 1, .max = 3600, .unit = "seconds",
     .text = "A connection on which no whole request arrives for so long is closed, however busily it sends."},
    {API(send_timeout), .type = CONFIG_SECONDS, .fallback = "60", .min = 1, .max = 3600, .unit = "seconds",
     .text = "A client that takes nothing of a response for so long is disconnected."},
    {API(send_rate), .type = CONFIG_SIZE, .fallback = "1024", .min = 0, .max = GIB, .unit = "bytes per second",
     .text = "So is one that takes less than this while there is more for it, on average over send_timeout. 0: it may be as slow "
             "as it likes. Time in which the backend sends nothing does not count."},
    {API(audit_log), .type = CONFIG_PATH, .example = "/var/log/glance-cache/audit.log",
     .text = "A file for who downloaded, and who changed what: a line of JSON for each, also for what was refused. It must be "
             "writable for the server's user; SIGHUP opens it anew, after it was rotated. Without it, such lines go to the log."},
    {API(public_metrics), .type = CONFIG_BOOL, .fallback = "no",
     .text = "Give /metrics to everyone, without a token. No ids of images are in it."},
    {API(peers), .type = CONFIG_WORDS, .count_offset = offsetof(struct config, api.peer_count),
     .example = "http://host-2.example.org:9292 http://host-3.example.org:9292",
     .text = "The servers of other hosts. GET /v2/cache/nodes/{id} asks them, with the caller's token, and names those that have "
             "the image, too. Who shows a token here shows it to them."},
    {API(worker_self_reference_url), .type = CONFIG_STRING, .example = "http://host-1.example.org:9292",
     .text = "How other hosts reach this server: what GET /v2/cache/nodes/{id} answers. Without it, the name that the "
             "client used."},
};

const struct config_option *config_options(size_t *ret_count)
{
    *ret_count = sizeof options / sizeof options[0];
    return options;
}

/* TEXT as comment lines, broken at blanks. */
static void print_comment(const char *text, FILE *out)
{
    enum { WIDTH = 98 };
    while (*text != '\0') {
        size_t length = strlen(text);
        if (length > WIDTH) {
            length = WIDTH;
            while (length > 0 && text[length] != ' ')
                length--;
            if (length == 0)
                length = strcspn(text, " ");
        }
        fprintf(out, "# %.*s\n", (int)length, text);
        text += length;
        text += strspn(text, " ");
    }
}

static void print_section(const struct config_option *option, const char **section, FILE *out)
{
    if (*section == NULL || strcmp(*section, option->section) != 0)
        fprintf(out, "%s[%s]\n", *section == NULL ? "" : "\n", option->section);
    *section = option->section;
}

void config_dump(const struct config *config, FILE *out)
{
    const char *section = NULL;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        const struct config_option *option = &options[i];
        print_section(option, &section, out);
        if (config_value_missing(config, option)) {
            fprintf(out, "#%s =\n", option->name);
            continue;
        }
        fprintf(out, "%s = ", option->name);
        config_value_print(config, option, out);
        fputc('\n', out);
    }
}

static bool needed_by_default(const struct config_option *option)
{
    return option->required || (option->required_for != NULL && strcmp(option->required_for, backend_types[0]) == 0);
}

void config_dump_sample(FILE *out)
{
    static const char title[] =
        "glance-cache.conf: the configuration of glance-cache-fs(8). Each option is described in glance-cache.conf(5). "
        "Lines that begin with # or ; are comments; the values shown in them are the defaults, or examples where there "
        "is no default.";
    const char *section = NULL;
    print_comment(title, out);
    fputc('\n', out);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        const struct config_option *option = &options[i];
        char wanted[128], line[256];
        print_section(option, &section, out);
        fputc('\n', out);
        print_comment(option->text, out);
        config_value_describe(option, wanted, sizeof wanted);
        snprintf(line, sizeof line, "Value: %s. %s%s.", wanted, option->fallback != NULL ? "Default: " : "No default",
                 option->fallback != NULL ? option->fallback : "");
        print_comment(line, out);
        fprintf(out, "%s%s = %s\n", needed_by_default(option) ? "" : "#", option->name,
                option->fallback != NULL ? option->fallback : option->example);
    }
}

unsigned config_views(const struct config *config)
{
    unsigned views = 0;
    for (size_t i = 0; i < config->view_count; i++) {
        for (unsigned bit = 0; view_names[bit] != NULL; bit++)
            views |= strcmp(config->views[i], view_names[bit]) == 0 ? 1U << bit : 0;
    }
    return views & (VIEW_GLANCE | VIEW_NOVA);
}

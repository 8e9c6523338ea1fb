/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: one INI file (see glance-cache.conf(5)). The only room that knows inih.
 *
 * One table, config_options(), says of every option its section, name, type, bounds, default, unit and text. The
 * parser, --help, --dump-config, the sample file and the man page follow from it or are checked against it.
 *
 * A configuration is read once and never changed; it may be read from any thread without a lock. Loading reads the
 * file (and nothing else; that a directory exists is checked by its user, with config_where() for the message).
 */
#ifndef GCFS_CONFIG_H
#define GCFS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CONFIG_ENDPOINTS_MAX = 16 }; /* servers in `url` or `endpoint` */
enum fetch_policy { FETCH_WHOLE, FETCH_DEMAND };
enum addressing { ADDRESSING_AUTO, ADDRESSING_PATH, ADDRESSING_VIRTUAL };
enum credentials { CREDENTIALS_AUTO, CREDENTIALS_KEYS, CREDENTIALS_FILE, CREDENTIALS_CONTAINER, CREDENTIALS_INSTANCE, CREDENTIALS_NONE };
enum passthrough_mode { PASSTHROUGH_AUTO, PASSTHROUGH_OFF };
enum api_auth { API_AUTH_NONE, API_AUTH_TOKEN, API_AUTH_KEYSTONE };

/* [api]: glance-cache-api. */
struct config_api {
    char *mount;              /* where the cache is mounted; --mount goes before it */
    char **listen;            /* ADDRESS:PORT, [ADDRESS6]:PORT; default 127.0.0.1:9292 */
    size_t listen_count;
    int auth;                 /* enum api_auth; none | token | keystone; default none */
    char *admin_token_file;   /* token: who may manage */
    char *reader_token_file;  /* token: who may download; without it, the admin token only */
    char *temp_url_key_file;  /* the key of links that carry their own permission; NULL: there are none */
    char **server_names;      /* names that browsers may use for this server, besides localhost and addresses */
    size_t server_name_count;
    char *auth_url;           /* keystone: https://keystone:5000/v3 */
    char *image_url;          /* keystone: the Glance that says who sees which image; NULL: upstream does */
    char **upstream;          /* the Glances, one of which gets every call that is not ours; or "catalog" */
    size_t upstream_count;
    char *upstream_region, *upstream_interface; /* of Keystone's catalogue; NULL: any; default public */
    uint64_t upstream_timeout; /* seconds it may be silent while it is waited for; default 300 */
    char **admin_roles;       /* keystone: default admin */
    size_t admin_role_count;
    char **service_token_roles; /* keystone: who may act for a user whose token expired meanwhile; default service */
    size_t service_token_role_count;
    uint64_t token_ttl;       /* seconds a token's validation is good for, at most until it expires; default 300 */
    uint64_t auth_ttl;        /* seconds that Glance's answer about an image is good for; default 60 */
    bool keep_uploads;        /* what is uploaded through upstream is kept in the cache; default yes */
    uint64_t document_ttl;    /* seconds that what Glance says of an image is given again; default 0 */
    uint64_t stale_if_error;  /* seconds that it is while Glance is away, and a token is good while Keystone is; default 0 */
    uint64_t document_cache_size; /* bytes of it that are kept; default 16M */
    int direct_url;           /* enum direct_url; none | file; default none */
    char *auth_ca_file;       /* authorities to trust for auth_url, image_url and upstream */
    char *tls_cert_file, *tls_key_file;
    char **trusted_proxies;   /* addresses and networks: who may say for whom it asks */
    size_t trusted_proxy_count;
    uint64_t max_connections; /* default 4096 */
    uint64_t max_connections_per_address; /* default 1024; 0: no limit of its own */
    uint64_t request_timeout; /* seconds for a whole request to arrive; default 60 */
    uint64_t send_timeout;    /* seconds a client may take nothing of a response; default 60 */
    uint64_t send_rate;       /* bytes per second that a client takes at least, over send_timeout; default 1024; 0: it may be slower */
    char *audit_log;          /* a file for who downloaded and changed what; NULL: the log */
    bool public_metrics;      /* /metrics without a token; default no */
    char **peers;             /* servers of other hosts; for GET /v2/cache/nodes/{id} */
    size_t peer_count;
    char *worker_self_reference_url; /* how other hosts reach this one; for GET /v2/cache/nodes/{id} */
};

enum direct_url { DIRECT_URL_NONE, DIRECT_URL_FILE };
enum config_views { VIEW_GLANCE = 1, VIEW_NOVA = 2 }; /* bits, in the order of the option's choices */
enum config_view_mode { VIEW_FOR_ALL, VIEW_FOR_GROUP, VIEW_FOR_OWNER };

struct config {
    char *path;   /* of the file it came from */
    char **where; /* of each option, in the table's order: "FILE:LINE", NULL when not in the file; ask config_where() */

    /* [DEFAULT] */
    char *image_cache_dir;          /* required */
    uint64_t image_cache_max_size;  /* bytes; default 10737418240 */
    uint64_t image_cache_stall_time; /* seconds; default 86400 */
    char *image_cache_sqlite_db;    /* name of Glance's index in the cache directory; default cache.db */
    char *log_level;                /* error warning notice info debug; default info */
    uint64_t min_free;              /* bytes, or CONFIG_PERCENT | percentage, of the file system to leave free; default 5% */
    bool evict_inline;              /* keep the limit while fetching; default yes */
    uint64_t cache_ttl;             /* seconds without access before an image is evicted; 0 (default): never */
    uint64_t revalidate;            /* seconds between questions whether a cached image is still the backend's, on open; 0: every
                                       open; CONFIG_NEVER (default) */
    int fetch_policy;               /* enum fetch_policy; whole | demand; default whole */
    uint64_t fetch_whole_after;     /* bytes asked for before the whole image follows; default 8M */
    uint64_t streams;               /* connections of one image's background fetch, 1–32; default 4 */
    uint64_t read_ahead_max;
    uint64_t bootset_max;
    uint64_t bootset_quiet;        /* bytes; default 8M */
    uint64_t prefetch_concurrency;  /* 1–64; default 4 */
    uint64_t prefetch_tries;        /* before a queued image is given up; 1–100; default 5 */
    uint64_t prefetch_retry_delay;  /* seconds before the second try; doubles; default 30 */
    uint64_t background_rate;       /* bytes a second for all background work together; 0 (default): no limit */
    uint64_t list_ttl;              /* seconds a listing of the backend is good for; default 60 */
    uint64_t list_max;              /* images of a listing; 1–10000000; default 1000000 */
    int view_mode;                  /* enum config_view_mode */
    char **views;                   /* further folders of the mount: glance, nova; default none; see config_views() */
    size_t view_count;
    char *view_group;               /* whom the files of the mount belong to; default: the group the worker runs as */
    char *user, *group;             /* whom a worker started by root becomes; default: see privileges.h */
    int passthrough;                /* enum passthrough_mode; auto | off; default auto */

    /* [backend] */
    char *type;              /* file | http (https is http with an https:// url) | glance | swift | s3; default file */
    char *directory;         /* file: the folder of images */
    char **urls;             /* http: one or more, tried in turn, blank-separated, "{id}" stands for the image's id;
                                without it "/{id}" is appended; NULL-terminated, never NULL */
    size_t url_count;
    char *list_url;          /* default: the url up to "{id}", when {id} ends it; "none": the backend cannot list */
    char **checksum_files;   /* beside the images; default "SHA512SUMS SHA256SUMS"; "none": none; NULL-terminated */
    size_t checksum_file_count;
    char *checksum_keyring;  /* the keys that such files must be signed by; NULL: signatures are not looked at */
    char *user_file;         /* file with one line "user:password" for basic authentication */
    char *token_file;        /* file with one line: a bearer token */
    char **endpoints;        /* glance, swift, s3: where the service is, instead of what the login or the region tells */
    size_t endpoint_count;
    char *region;            /* default: OS_REGION_NAME, any; s3: AWS_REGION, us-east-1 */
    char *interface;         /* of Keystone's catalogue; default: OS_INTERFACE, public */
    char *auth_url;          /* Keystone, or TempAuth when it ends in /v1.0; default: OS_AUTH_URL */
    char *username, *user_domain_id, *user_domain_name;                       /* default: OS_… of the same name */
    char *project_id, *project_name, *project_domain_id, *project_domain_name; /* likewise */
    char *password_file;     /* file with one line; default: OS_PASSWORD */
    char *application_credential_id;
    char *application_credential_secret_file; /* file with one line; default: OS_APPLICATION_CREDENTIAL_SECRET */
    char *container;         /* swift */
    char *bucket;            /* s3 */
    char *prefix;            /* swift, s3: of the objects' names, before the id; default none */
    int addressing;          /* enum addressing; s3: auto | path | virtual; default auto */
    int credentials;         /* enum credentials; s3: auto | keys | file | container | instance | none; default auto */
    char *access_key;        /* s3; default: AWS_ACCESS_KEY_ID */
    char *secret_key_file;   /* file with one line; default: AWS_SECRET_ACCESS_KEY */
    char *credentials_file;  /* a shared-credentials file; default: AWS_SHARED_CREDENTIALS_FILE */
    bool request_payer;      /* s3: we pay for what we read; default no */
    char *profile;           /* its section; default: AWS_PROFILE, default */
    char *ca_file;
    char *client_cert_file;
    char *client_key_file;
    bool insecure;           /* do not verify TLS certificates; default no */
    char *proxy;             /* default: the environment's http_proxy, https_proxy, no_proxy */
    uint64_t connect_timeout; /* seconds; default 10 */
    uint64_t stall_timeout;   /* seconds without stall_rate bytes a second before a transfer is given up; default 30 */
    uint64_t stall_rate;      /* bytes a second; default 1024 */
    uint64_t retries;         /* further tries after the first failed, for bytes someone reads; default 6 */
    uint64_t retry_delay;     /* milliseconds before the first retry; doubles, jittered, at most 30 s; default 250 */

    struct config_api api;
};

/* Beside plain numbers. */
#define CONFIG_PERCENT (UINT64_C(1) << 63)
#define CONFIG_NEVER UINT64_MAX

enum config_type {
    CONFIG_STRING,       /* char * */
    CONFIG_PATH,         /* char *; absolute */
    CONFIG_SIZE,         /* uint64_t, bytes */
    CONFIG_SHARE,        /* a size or a percentage; uint64_t: bytes, or CONFIG_PERCENT | percentage */
    CONFIG_SECONDS,      /* uint64_t */
    CONFIG_INTERVAL,     /* "never", "on-open", or seconds; uint64_t: CONFIG_NEVER, 0, seconds */
    CONFIG_MILLISECONDS, /* uint64_t */
    CONFIG_COUNT,        /* uint64_t */
    CONFIG_BOOL,         /* bool */
    CONFIG_CHOICE,       /* char *; one of the choices */
    CONFIG_ENUM,         /* int; the index of one of the choices */
    CONFIG_WORDS,        /* char ** and size_t; blank-separated, may go on in indented lines; "none" empties one that
                            has a default */
};

struct config_option {
    const char *section; /* "DEFAULT", "backend", "api" */
    const char *name;
    enum config_type type;
    const char *fallback;      /* the default, as it would stand in the file; NULL: none, "" is not a value */
    const char *example;       /* for the sample file, where there is no default; else NULL */
    uint64_t min, max;         /* of a number */
    const char *const *choices; /* CONFIG_CHOICE, CONFIG_ENUM, and of each word, where there are any: NULL-terminated */
    const char *unit;          /* "bytes", "seconds", … ; NULL */
    const char *text;          /* a sentence or two for the operator */
    size_t offset;             /* of the member in struct config */
    size_t count_offset;       /* CONFIG_WORDS: of the member that counts them */
    bool required;
    const char *required_for;  /* the backend type that cannot do without it; NULL */
};

/* The table, in the order of the sample file. */
const struct config_option *config_options(size_t *ret_count);

enum { CONFIG_MESSAGE_MAX = 512 };

/*
 * Reads PATH. On failure returns a negative errno (-EINVAL for what is in the file) and fills MESSAGE with one line:
 * file, line, what was expected, what to do. Sizes take the suffixes K, M, G, T (1024), an optional B or iB.
 * Booleans: yes no true false on off 1 0. An unknown key names the nearest known one. A key given twice is an error,
 * and so is what goes wrong later in silence: a relative path, a password in a url (the configuration may be shown), a
 * backend folder inside the cache directory, two kinds of credentials at once. -EINVAL, -ENOMEM, or what open(2) said
 * (-EISDIR for a directory).
 */
int config_load(const char *path, struct config **ret, char message[CONFIG_MESSAGE_MAX]);
/* The same, but each mistake is told to FN, in its words, and all of the file is read; -EINVAL when there was one. */
typedef void config_mistake_fn(void *context, const char *message);
int config_load_telling(const char *path, config_mistake_fn *fn, void *context, struct config **ret, char message[CONFIG_MESSAGE_MAX]);
/* The same from the file at FROM, a copy of PATH, which the messages name. */
int config_load_copy(const char *from, const char *path, struct config **ret, char message[CONFIG_MESSAGE_MAX]);
void config_free(struct config *config); /* NULL is fine */

/* "FILE:LINE" where the option stands, or "FILE" when it is not in the file; valid as long as the configuration.
 * SECTION and NAME are those of the table (asserted). */
const char *config_where(const struct config *config, const char *section, const char *name);

unsigned config_views(const struct config *config); /* enum config_views */

/* The configuration in force, as a file that config_load() reads back to the same. Of secrets, only the names of
 * their files are in it. */
void config_dump(const struct config *config, FILE *out);
/* Every option with its default, unit and text: the sample file (all lines commented but the required ones). */
void config_dump_sample(FILE *out);

/*
 * Reads another INI file, such as shared credentials for S3: FN for each line with a name, its values valid for the call; non-zero
 * ends the reading and is returned. Lines may be of any length; one that stands further in than the name above it belongs to that
 * and is passed over. Else 0, -EINVAL (it is no INI file), -ENOMEM or what open(2) and read(2) said. Blocks on the disk.
 */
typedef int config_ini_fn(void *context, const char *section, const char *name, const char *value);
int config_read_ini(const char *path, config_ini_fn *fn, void *context);

/* Parses "10G", "512 MiB", "4096" to bytes. -EINVAL, -ERANGE. */
int config_parse_size(const char *text, uint64_t *ret);

#endif

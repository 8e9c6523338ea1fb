/* SPDX-License-Identifier: Apache-2.0 */
/* What libcurl's errors mean, as an errno; see transfer_ops. No state. */
#include "config-auto.h"

#include "transfer/private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool transfer_error_is_local(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS;
}

static int connect_error(CURL *easy, int socket_error)
{
    long number = 0;
    if (transfer_error_is_local(-socket_error))
        return -socket_error;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
    switch (number) {
    case ETIMEDOUT:
        return -ETIMEDOUT;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EADDRNOTAVAIL:
        return -EHOSTUNREACH;
    default:
        return -ECONNREFUSED;
    }
}

/* Nothing was resolved; for want of a descriptor? */
static int resolve_error(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0), error = errno;
    if (fd >= 0)
        close(fd);
    return fd < 0 && transfer_error_is_local(-error) ? -error : -EHOSTUNREACH;
}

/* Also a proxy that refuses to connect us ends as "failure in receiving". */
static int receive_error(CURL *easy)
{
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return status >= 300 ? -EHOSTUNREACH : -ECONNRESET;
}

int transfer_error(CURL *easy, CURLcode code, int socket_error)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return resolve_error();
    case CURLE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
        return connect_error(easy, socket_error);
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return -ECONNRESET;
    case CURLE_RECV_ERROR:
        return receive_error(easy);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
        return -EKEYREJECTED;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_USE_SSL_FAILED:
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9: other schemes do not come here */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return -EPROTO;
    case CURLE_URL_MALFORMAT:
        return -EINVAL;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

bool transfer_error_is_of_stream(CURLcode code)
{
    return code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM;
}

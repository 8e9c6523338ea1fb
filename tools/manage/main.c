/* SPDX-License-Identifier: Apache-2.0 */
/* glance-cache-manage. */
#include "config-auto.h"

#include <curl/curl.h>
#include <locale.h>

#include "manage/manage.h"

int main(int argc, char **argv)
{
    static struct options o;
    setlocale(LC_CTYPE, "");
    int code = options_read(argc, argv, &o);
    if (code == 0) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        code = commands_run(&o) + 1;
        curl_global_cleanup();
    }
    options_free(&o);
    if (fflush(stdout) != 0)
        return FAILURE;
    return code - 1;
}

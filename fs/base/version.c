/* SPDX-License-Identifier: Apache-2.0 */
/* commit-auto.h is made anew at each build, and written when the commit is another one; only this file sees it. */
#include "config-auto.h"

#include "base/version.h"

#include <stdio.h>

#include "commit-auto.h"

const char *version_commit(void)
{
    return COMMIT;
}

void version_print(const char *program)
{
    printf("%s (%s) %s, commit %s\n", program, PACKAGE_NAME, PACKAGE_VERSION, COMMIT);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures by gpgv: made by gpg for the test, where both are installed. */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "process/gpgv.h"

static char dir[] = "/tmp/test_gpgv.XXXXXX";
static char keyring[64], other[64];

static const char *const make_keys =
    "export GNUPGHOME=%1$s/home; mkdir -m 700 $GNUPGHOME && cd %1$s && "
    "for who in one two; do gpg --batch --quiet --passphrase '' --quick-generate-key $who@example.org ed25519 sign never; gpg --export $who@example.org >$who.gpg; done && "
    "printf 'line\\n- dash\\n' >text && gpg --batch --quiet -u one@example.org --detach-sign text && gpg --batch --quiet -u one@example.org --clearsign text; "
    "r=$?; gpgconf --kill all; exit $r";

static int setup(void **state)
{
    char command[1000];
    (void) state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(keyring, sizeof(keyring), "%s/one.gpg", dir);
    snprintf(other, sizeof(other), "%s/two.gpg", dir);
    snprintf(command, sizeof(command), make_keys, dir);
    return system("command -v gpg >/dev/null && command -v gpgv >/dev/null") != 0 || system(command) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    char command[100];
    (void) state;
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static char *file(const char *name, size_t *ret_length)
{
    char path[100];
    static char text[10000];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    if (!f)
        skip(); /* gpg or gpgv is not installed */
    *ret_length = fread(text, 1, sizeof(text) - 1, f);
    text[*ret_length] = '\0';
    fclose(f);
    char *copy = malloc(*ret_length + 1);
    assert_non_null(copy);
    return memcpy(copy, text, *ret_length + 1);
}

static void apart(void **state)
{
    (void) state;
    size_t length, signature_length, n;
    char *text = file("text", &length), *signature = file("text.sig", &signature_length), *got, why[GPGV_WHY_MAX] = "";
    assert_int_equal(gpgv_verify(keyring, text, length, signature, signature_length, &got, &n, why), 0);
    assert_string_equal(got, text);
    assert_int_equal(n, length);
    free(got);
    assert_int_equal(gpgv_verify(other, text, length, signature, signature_length, &got, &n, why), -EBADMSG);
    assert_non_null(strstr(why, "No public key"));
    text[0] ^= 1;
    assert_int_equal(gpgv_verify(keyring, text, length, signature, signature_length, &got, &n, why), -EBADMSG);
    assert_non_null(strstr(why, "BAD signature"));
    assert_int_equal(gpgv_verify(keyring, text, length, "", 0, &got, &n, why), -EBADMSG);
    assert_int_equal(gpgv_verify("/nonexistent/keyring", text, length, signature, signature_length, &got, &n, why), -EBADMSG);
    free(text);
    free(signature);
}

/* Only what was signed is given out, whatever stands around it. */
static void in_clear(void **state)
{
    (void) state;
    size_t length, n;
    char *text = file("text.asc", &length), *got, why[GPGV_WHY_MAX], around[11000];
    assert_int_equal(gpgv_verify(keyring, text, length, NULL, 0, &got, &n, why), 0);
    assert_string_equal(got, "line\n- dash\n");
    free(got);
    assert_int_equal(gpgv_verify(other, text, length, NULL, 0, &got, &n, why), -EBADMSG);
    int all = snprintf(around, sizeof(around), "before\n%sbehind\n", text);
    if (gpgv_verify(keyring, around, (size_t) all, NULL, 0, &got, &n, why) == 0) {
        assert_string_equal(got, "line\n- dash\n");
        free(got);
    }
    *strstr(text, "line") = 'L';
    assert_int_equal(gpgv_verify(keyring, text, length, NULL, 0, &got, &n, why), -EBADMSG);
    assert_int_equal(gpgv_verify(keyring, "no signature\n", 13, NULL, 0, &got, &n, why), -EBADMSG);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(apart), cmocka_unit_test(in_clear) };
    return cmocka_run_group_tests(tests, setup, teardown);
}

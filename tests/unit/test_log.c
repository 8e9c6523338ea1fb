/* SPDX-License-Identifier: Apache-2.0 */
/* The log: what reaches standard error. Each test looks at it through a pipe. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

struct capture {
    int real_stderr;
    int reader;
};

static int setup(void **state)
{
    static struct capture capture;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    capture.real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    capture.reader = ends[0];
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    unsetenv("JOURNAL_STREAM");
    log_set_level(LOG_INFO);
    *state = &capture;
    return 0;
}

/* What was written to standard error since setup(), which is the real one again. */
static const char *written(struct capture *capture)
{
    static char text[8192];
    ssize_t n;
    size_t used = 0;
    dup2(capture->real_stderr, STDERR_FILENO); /* closes the pipe's writing end */
    while ((n = read(capture->reader, text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)n;
    text[used] = '\0';
    return text;
}

static int teardown(void **state)
{
    struct capture *capture = *state;
    dup2(capture->real_stderr, STDERR_FILENO);
    close(capture->real_stderr);
    close(capture->reader);
    return 0;
}

static void expect(struct capture *capture, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void expect(struct capture *capture, const char *format, ...)
{
    char expected[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(expected, sizeof expected, format, args);
    va_end(args);
    assert_string_equal(written(capture), expected);
}

static void lines_carry_name_and_kind(void **state)
{
    const char *me = program_invocation_short_name;
    log_error("image %s is lost", "x");
    log_warning("careful");
    log_notice("notice");
    log_info("%d images", 3);
    expect(*state, "%s: error: image x is lost\n%s: warning: careful\n%s: notice\n%s: 3 images\n", me, me, me, me);
}

static void the_level_drops_lines(void **state)
{
    const char *me = program_invocation_short_name;
    log_debug("never seen");
    log_set_level(LOG_DEBUG);
    log_debug("seen");
    log_set_level(LOG_ERR);
    log_warning("not this");
    log_error("this");
    expect(*state, "%s: seen\n%s: error: this\n", me, me);
}

static void levels_have_names(void **state)
{
    (void)state;
    assert_int_equal(log_level_by_name("error"), LOG_ERR);
    assert_int_equal(log_level_by_name("warning"), LOG_WARNING);
    assert_int_equal(log_level_by_name("notice"), LOG_NOTICE);
    assert_int_equal(log_level_by_name("info"), LOG_INFO);
    assert_int_equal(log_level_by_name("debug"), LOG_DEBUG);
    assert_int_equal(log_level_by_name("loud"), -EINVAL);
    assert_int_equal(log_level_by_name(""), -EINVAL);
}

static void nothing_can_forge_a_line(void **state)
{
    log_info("bad%sbad", "\n<0>panic: \x1b[2J\t\r\x7f\x01");
    expect(*state, "%s: bad?<0>panic: ?[2J????bad\n", program_invocation_short_name);
}

static void c1_controls_go_and_utf8_stays(void **state)
{
    log_info("%s", "\xc2\x9b"
                   "31m gr\xc3\xbc\xc3\x9f dich \xe2\x82\xac \xc2\xa0 \xc2");
    expect(*state, "%s: ??31m gr\xc3\xbc\xc3\x9f dich \xe2\x82\xac \xc2\xa0 \xc2\n", program_invocation_short_name);
}

static void long_lines_are_cut_between_characters(void **state)
{
    char text[5000] = "";
    for (size_t i = 0; i + 3 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa4", 3);
    log_errno(-EIO, "aa%s", text); /* the limit falls into a letter */
    const char *line = written(*state);
    const char *start = strstr(line, "error: aa");
    assert_non_null(start);
    size_t letters = 0;
    start += strlen("error: aa");
    for (; strncmp(start, "\xc3\xa4", 2) == 0; start += 2)
        letters++;
    assert_true(letters > 1000 && letters < 1024);
    assert_string_equal(start, " ...: Input/output error\n");
}

static void a_line_of_exactly_the_limit_is_whole(void **state)
{
    char text[2048];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_info("%s", text);
    expect(*state, "%s: %s\n", program_invocation_short_name, text);
}

static void errors_are_named_and_returned(void **state)
{
    errno = ENOTTY;
    assert_int_equal(log_errno(-ENOENT, "cannot open \"%s\"", "f"), -ENOENT);
    assert_int_equal(errno, ENOTTY);
    log_info("x");
    assert_int_equal(errno, ENOTTY);
    expect(*state, "%s: error: cannot open \"f\": No such file or directory\n%s: x\n", program_invocation_short_name,
           program_invocation_short_name);
}

static void every_error_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(error_text(-EACCES), "Permission denied");
    assert_string_equal(error_text(EACCES), "Permission denied");
    assert_string_equal(error_text(-99999), "Unknown error");
    assert_string_equal(error_text(INT32_MIN), "Unknown error");
    assert_ptr_equal(error_text(-EIO), error_text(-EIO));
}

static void the_journal_gets_levels(void **state)
{
    char stream[64];
    struct stat st;
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_error("broken");
    log_info("well");
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + 1);
    setenv("JOURNAL_STREAM", stream, 1);
    log_info("another's journal");
    setenv("JOURNAL_STREAM", "nonsense", 1);
    log_info("nobody's");
    expect(*state, "<3>broken\n<6>well\n%s: another's journal\n%s: nobody's\n", program_invocation_short_name,
           program_invocation_short_name);
}

static void a_closed_log_is_no_error(void **state)
{
    struct capture *capture = *state;
    close(STDERR_FILENO);
    errno = ENOTTY;
    log_error("nobody hears this");
    assert_int_equal(errno, ENOTTY);
    dup2(capture->real_stderr, STDERR_FILENO);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_carry_name_and_kind),
        TEST(the_level_drops_lines),
        TEST(levels_have_names),
        TEST(nothing_can_forge_a_line),
        TEST(c1_controls_go_and_utf8_stays),
        TEST(long_lines_are_cut_between_characters),
        TEST(a_line_of_exactly_the_limit_is_whole),
        TEST(errors_are_named_and_returned),
        TEST(every_error_has_a_text),
        TEST(the_journal_gets_levels),
        TEST(a_closed_log_is_no_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

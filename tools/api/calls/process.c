/* SPDX-License-Identifier: Apache-2.0 */
/* What a process takes, of /proc/self: see proc(5) for the numbers' places. No state. */
#include "config-auto.h"

#include "api/calls/process.h"

#include <dirent.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void one(FILE *out, const char *name, const char *type, const char *help, double value)
{
    fprintf(out, "# HELP process_%s %s\n# TYPE process_%s %s\nprocess_%s %.17g\n", name, help, name, type, name, value);
}

/* Seconds since 1970 when the machine was started; 0: not known. */
static double boot_time(void)
{
    struct timespec now, up;
    if (clock_gettime(CLOCK_REALTIME, &now) < 0 || clock_gettime(CLOCK_BOOTTIME, &up) < 0)
        return 0;
    return (double)(now.tv_sec - up.tv_sec) + (double)(now.tv_nsec - up.tv_nsec) / 1e9;
}

static double open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    double n = 0;
    if (folder == NULL)
        return 0;
    while (readdir(folder) != NULL)
        n++;
    closedir(folder);
    return n - 3; /* . and .. and the folder itself */
}

void process_write(FILE *out)
{
    char line[1024] = "";
    unsigned long long user = 0, kernel = 0, started = 0, size = 0;
    long pages = 0;
    struct rlimit limit;
    FILE *stat = fopen("/proc/self/stat", "re");
    const char *rest = stat != NULL && fgets(line, sizeof(line), stat) != NULL ? strrchr(line, ')') : NULL;
    if (stat != NULL)
        fclose(stat);
    /* behind the name: state, and 13 numbers before the two times */
    if (rest == NULL || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu %llu %ld", &user,
                               &kernel, &started, &size, &pages) != 5)
        return;
    double ticks = (double)sysconf(_SC_CLK_TCK);
    one(out, "cpu_seconds_total", "counter", "Processor time of this server.", (double)(user + kernel) / ticks);
    one(out, "resident_memory_bytes", "gauge", "Its memory.", (double)pages * (double)sysconf(_SC_PAGESIZE));
    one(out, "virtual_memory_bytes", "gauge", "Its address space.", (double)size);
    one(out, "start_time_seconds", "gauge", "When it was started.", boot_time() + (double)started / ticks);
    one(out, "open_fds", "gauge", "Its open descriptors.", open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        one(out, "max_fds", "gauge", "How many it may have.", (double)limit.rlim_cur);
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GCFS_API_PROCESS_H
#define GCFS_API_PROCESS_H

#include <stdio.h>

/* This process as Prometheus' own libraries tell of one (process_cpu_seconds_total and so on). Any thread; reads /proc. */
void process_write(FILE *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GCFS_SPAN_H
#define GCFS_SPAN_H

#include <stdint.h>

struct span { uint64_t first, end; }; /* bytes [first, end) */

#endif

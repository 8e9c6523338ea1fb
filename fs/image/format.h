/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of disk image some first bytes are of, in Glance's words for disk_format. Pure. */
#ifndef GCFS_IMAGE_FORMAT_H
#define GCFS_IMAGE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/*
 * "qcow2", "vmdk", "vhd", "vhdx", "vdi", "ploop", "iso", or "raw" for a disk with a partition table; NULL: nothing that is known, or too few
 * bytes to tell (an iso's name stands behind 32 KiB). Never a guess: clients read an image as what they are told it is, or refuse it.
 */
const char *image_format(const void *bytes, size_t length);

/*
 * How many bytes a machine sees of an image of FORMAT (in the words above) and SIZE bytes, of which BYTES are the first LENGTH: what its header
 * says, whatever that is, up to INT64_MAX. 0: it is not told there.
 */
uint64_t image_virtual_size(const char *format, const void *bytes, size_t length, uint64_t size);

#endif

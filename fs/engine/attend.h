/* SPDX-License-Identifier: Apache-2.0 */
/* The attendant: the one who looks what an image needs, and has it started. */
#ifndef GCFS_ENGINE_ATTEND_H
#define GCFS_ENGINE_ATTEND_H

/* On the fetch thread: something of IMAGE changed, see image_changed(). Takes its reference: engine->changed. */
void attend(void *image);

#endif

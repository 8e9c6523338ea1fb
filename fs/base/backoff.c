/* SPDX-License-Identifier: Apache-2.0 */
#include "config-auto.h"

#include "base/backoff.h"

uint64_t backoff_ms(uint64_t base, unsigned tries, uint32_t random)
{
    const uint64_t most = BACKOFF_MAX_S * UINT64_C(1000);
    uint64_t delay = base;
    for (unsigned i = 1; i < tries && delay < most; i++)
        delay *= 2;
    delay = delay < most ? delay : most;
    return delay - delay / 4 + (delay / 4 ? random % (delay / 4 + 1) : 0);
}

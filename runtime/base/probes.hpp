#pragma once

// Static probes (USDT) of provider `sublet`, for bpftrace, perf and SystemTap:
// docs/how-to/probes.md says what each has. A probe is one nop in the code, and a note in the
// binary that says where its arguments are: nothing is computed for it while nobody traces.

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>

/// SUBLET_PROBE_4(name, arguments...): integers and pointers that are at hand.
#define SUBLET_PROBE_4(name, a, b, c, d) DTRACE_PROBE4(sublet, name, a, b, c, d)
#else
#define SUBLET_PROBE_4(name, a, b, c, d) static_cast<void>(0)
#endif

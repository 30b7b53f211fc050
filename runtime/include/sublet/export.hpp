#pragma once

/// Marks what libsublet and libsublet_mpi export. They are compiled with hidden visibility, so a
/// name without it can neither be called from outside nor clash with one of the application's.
#define SUBLET_API __attribute__((visibility("default")))

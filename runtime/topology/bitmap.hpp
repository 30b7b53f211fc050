#pragma once

// Private to runtime/topology: what a Cpuset holds.

#include <topology/cpuset.hpp>

#include <hwloc.h>

#include <new>

namespace sublet::topology {

struct Cpuset::Bitmap {
  explicit Bitmap(hwloc_bitmap_t bits) : value(bits) {
    if (value == nullptr) throw std::bad_alloc();
  }
  Bitmap(const Bitmap&) = delete;
  Bitmap& operator=(const Bitmap&) = delete;
  ~Bitmap() { hwloc_bitmap_free(value); }
  hwloc_bitmap_t value;
};

}  // namespace sublet::topology

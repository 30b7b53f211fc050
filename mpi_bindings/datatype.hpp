#pragma once

#include <sublet/result.hpp>

#include <mpi.h>

#include <cstddef>
#include <utility>

namespace sublet::mpi {

/// `count` elements of an MPI datatype, as workers see them: the values one after the other,
/// without the holes between them.
///
/// Owner: a persistent call. It has a duplicate of the type, so that the application may free its
/// own at once, and must give it back while MPI still works: release(). Thread rule: as MPI's
/// thread level allows; all but the numbers call MPI.
class Elements {
 public:
  Elements() = default;
  Elements(const Elements&) = delete;
  Elements& operator=(const Elements&) = delete;

  /// `comm` returns errors, and is used for that alone. kInvalid: the type is null or not
  /// committed, the count negative, or there is no such amount of memory. kUnsupported: MPI packs
  /// values of this type in a form of its own, or cannot pack one element at once because of its
  /// size.
  Result<void> describe(MPI_Comm comm, MPI_Count count, MPI_Datatype type);

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// The values lie one after the other in the application's memory already.
  [[nodiscard]] bool is_dense() const noexcept { return is_dense_; }

  /// From the application's memory to bytes() bytes at `packed`.
  Result<void> pack(MPI_Comm comm, const void* from, std::byte* packed) const;
  /// The first `size` bytes of `packed` to the application's memory; holes stay as they are.
  /// kInvalid when they are no whole number of elements.
  Result<void> unpack(MPI_Comm comm, const std::byte* packed, std::size_t size, void* to) const;

  void release() noexcept;

 private:
  /// Calls `step(byte offset in the application's memory, offset in the packed bytes, elements)`
  /// for as many elements at a time as fit the `int` that MPI_Pack counts in.
  template <class Step>
  Result<void> in_steps(MPI_Count count, Step&& step) const;

  MPI_Datatype type_ = MPI_DATATYPE_NULL;
  MPI_Count count_ = 0;
  MPI_Count extent_ = 0;
  std::size_t element_bytes_ = 0;
  std::size_t bytes_ = 0;
  bool is_dense_ = false;
};

}  // namespace sublet::mpi

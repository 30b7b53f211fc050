#pragma once

#include <sublet/mpi.hpp>

#include <gtest/gtest.h>

#include <string>

namespace sublet::mpi {

inline int rank_of(MPI_Comm comm) {
  int rank = 0;
  MPI_Comm_rank(comm, &rank);
  return rank;
}

inline int size_of(MPI_Comm comm) {
  int size = 0;
  MPI_Comm_size(comm, &size);
  return size;
}

/// One worker a rank from a private manager, however few cores the machine has.
inline AllocatorOptions options_for_any_machine() {
  AllocatorOptions options;
  options.session = SessionOptions::load().value_or_throw();
  options.session.private_oversubscribe = 16;
  options.arena_bytes = std::uint64_t{64} << 20;
  return options;
}

/// Collective: what rank 0 has in `text`.
inline std::string text_of_rank_0(MPI_Comm comm, std::string text) {
  auto length = static_cast<int>(text.size());
  MPI_Bcast(&length, 1, MPI_INT, 0, comm);
  text.resize(static_cast<std::size_t>(length));
  MPI_Bcast(text.data(), length, MPI_CHAR, 0, comm);
  return text;
}

/// Collective: all ranks have failed, with one kind and one text, which is returned.
template <class T>
std::string expect_same_failure(MPI_Comm comm, const Result<T>& result) {
  EXPECT_FALSE(result.has_value());
  const Error error = result ? Error(ErrorKind::kInternal, "no error") : result.error();
  EXPECT_EQ(error.what(), text_of_rank_0(comm, error.what()));
  int kind = static_cast<int>(error.kind());
  MPI_Bcast(&kind, 1, MPI_INT, 0, comm);
  EXPECT_EQ(static_cast<int>(error.kind()), kind);
  return error.what();
}

/// The workers of this allocator work: one call, checked.
inline void expect_works(Allocator& workers) {
  auto twice = workers.lease().function<double(double)>(SUBLET_TEST_FUNCTIONS, "twice");
  ASSERT_TRUE(twice.has_value()) << twice.error().what();
  const auto result = (*twice)(21.0);
  ASSERT_TRUE(result.has_value()) << result.error().what();
  EXPECT_EQ(*result, 42.0);
}

}  // namespace sublet::mpi

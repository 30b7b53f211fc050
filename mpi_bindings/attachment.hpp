#pragma once

#include "agreement.hpp"
#include <sublet/result.hpp>

#include <mpi.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace sublet::mpi {

/// Something that has to end before its communicator does.
class Attached {
 public:
  virtual ~Attached() = default;
  /// Called once, in MPI_Comm_free or MPI_Finalize. No MPI calls.
  virtual void communicator_ends() noexcept = 0;
  /// True when it has ended on this rank, whoever ended it.
  [[nodiscard]] virtual bool has_ended() const noexcept = 0;
};

/// What Sublet keeps with one of the application's communicators: a duplicate of it, so that
/// Sublet's messages never meet the application's, and all that must end when it is freed.
///
/// Owner: MPI, through attributes of the communicator and of MPI_COMM_SELF, whose delete callbacks
/// run in MPI_Comm_free and MPI_Finalize; handles that share it may outlive both, and then find it
/// closed. There is one for each communicator, made by the first of() and reused by the next ones.
class Attachment {
 public:
  /// Collective over `comm`. Gives up together: on all ranks or on none.
  static Result<std::shared_ptr<Attachment>> of(MPI_Comm comm);

  /// The only one of this process; null when there are more, or none. Local.
  static std::shared_ptr<Attachment> only();

  /// Has MPI_Finalize end what there is of ours by then. Local.
  static Result<void> watch_finalize();

  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  /// The duplicate. MPI_ERRORS_RETURN is set on it.
  [[nodiscard]] MPI_Comm comm() const noexcept { return comm_; }
  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int size() const noexcept { return size_; }
  /// False once the communicator has been freed or MPI is finalising: no MPI calls any more.
  [[nodiscard]] bool is_open() const noexcept { return comm_ != MPI_COMM_NULL; }

  /// Forgets what has ended when there has come a lot.
  void add(std::weak_ptr<Attached> member);

  /// Forgets what has ended by now.
  void forget_ended();

  /// Ends what is attached on this rank, and the duplicate.
  void close() noexcept;

 private:
  friend class Registry;
  explicit Attachment(MPI_Comm duplicate) noexcept;

  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 0;
  std::vector<std::weak_ptr<Attached>> members_;
  std::size_t look_again_ = 64;  ///< At so many members add() looks which of them have ended.
};

}  // namespace sublet::mpi

#include "attachment.hpp"

#include "agreement.hpp"
#include "requests.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

namespace sublet::mpi {
/// Finds the attachment of a communicator again. MPI's attributes are process-wide and are called
/// back without a context of ours, so this is the one object of the process; an attribute's value
/// is a number to look up here, never a pointer that could dangle.
class Registry {
 public:
  static Registry& instance() {
    static Registry registry;
    return registry;
  }

  /// Makes the keyvals and asks to be called in MPI_Finalize, once. Local. (Holds the lock while it
  /// calls MPI: nothing can call back before it is done.)
  Result<void> prepare() {
    const std::lock_guard lock(mutex_);
    if (on_comm_ != MPI_KEYVAL_INVALID) return {};
    int on_comm = MPI_KEYVAL_INVALID;
    int on_self = MPI_KEYVAL_INVALID;
    int code = MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, &comm_freed, &on_comm, nullptr);
    if (code == MPI_SUCCESS) {
      code = MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, &finalizing, &on_self, nullptr);
    }
    if (code == MPI_SUCCESS) code = MPI_Comm_set_attr(MPI_COMM_SELF, on_self, nullptr);
    if (code != MPI_SUCCESS) {
      return tl::unexpected<Error>(mpi_error(code, "asking MPI to be told of MPI_Finalize"));
    }
    on_comm_ = on_comm;
    on_self_ = on_self;
    return {};
  }

  std::shared_ptr<Attachment> find(MPI_Comm comm) {
    const int on_comm = keyval();
    void* value = nullptr;
    int found = 0;
    if (on_comm == MPI_KEYVAL_INVALID ||
        MPI_Comm_get_attr(comm, on_comm, &value, &found) != MPI_SUCCESS || found == 0) {
      return nullptr;
    }
    const std::lock_guard lock(mutex_);
    const auto entry = attachments_.find(reinterpret_cast<std::intptr_t>(value));
    return entry == attachments_.end() ? nullptr : entry->second;
  }

  /// Local. `duplicate` belongs to the attachment from now on.
  Result<void> attach(MPI_Comm comm, MPI_Comm duplicate, std::shared_ptr<Attachment>& made) {
    std::intptr_t id = 0;
    {
      const std::lock_guard lock(mutex_);
      id = ++last_id_;
      made.reset(new Attachment(duplicate));
      attachments_.emplace(id, made);
    }
    const int code = MPI_Comm_set_attr(comm, keyval(), reinterpret_cast<void*>(id));
    if (code == MPI_SUCCESS) return {};
    take(id);
    return tl::unexpected<Error>(mpi_error(code, "attaching Sublet to the communicator"));
  }

  std::shared_ptr<Attachment> only() {
    const std::lock_guard lock(mutex_);
    return attachments_.size() == 1 ? attachments_.begin()->second : nullptr;
  }

  void detach(MPI_Comm comm) noexcept { MPI_Comm_delete_attr(comm, keyval()); }

 private:
  int keyval() {
    const std::lock_guard lock(mutex_);
    return on_comm_;
  }

  std::shared_ptr<Attachment> take(std::intptr_t id) {
    const std::lock_guard lock(mutex_);
    const auto entry = attachments_.find(id);
    if (entry == attachments_.end()) return nullptr;
    auto attachment = std::move(entry->second);
    attachments_.erase(entry);
    return attachment;
  }

  /// MPI_Comm_free, or MPI_Comm_delete_attr from detach().
  static int comm_freed(MPI_Comm, int, void* value, void*) {
    const auto attachment = instance().take(reinterpret_cast<std::intptr_t>(value));
    if (attachment) attachment->close();
    return MPI_SUCCESS;
  }

  /// MPI_Finalize. Its first act is to free MPI_COMM_SELF's attributes, while MPI still works.
  static int finalizing(MPI_Comm, int, void*, void*) {
    instance().close_all();
    return MPI_SUCCESS;
  }

  void close_all() {
    std::map<std::intptr_t, std::shared_ptr<Attachment>> all;
    int on_comm = MPI_KEYVAL_INVALID;
    int on_self = MPI_KEYVAL_INVALID;
    {
      const std::lock_guard lock(mutex_);
      all.swap(attachments_);
      on_comm = std::exchange(on_comm_, MPI_KEYVAL_INVALID);
      on_self = std::exchange(on_self_, MPI_KEYVAL_INVALID);
    }
    MPI_Comm_free_keyval(&on_comm);
    MPI_Comm_free_keyval(&on_self);
    // In the order of their making, which is the same on all ranks of a communicator.
    for (auto& [id, attachment] : all) attachment->close();
    close_requests();
  }

  /// Never held while MPI is called: MPI has a lock of its own around attributes, and calls back
  /// under it.
  std::mutex mutex_;
  int on_comm_ = MPI_KEYVAL_INVALID;
  int on_self_ = MPI_KEYVAL_INVALID;
  std::intptr_t last_id_ = 0;
  std::map<std::intptr_t, std::shared_ptr<Attachment>> attachments_;
};

Attachment::Attachment(MPI_Comm duplicate) noexcept : comm_(duplicate) {
  MPI_Comm_rank(comm_, &rank_);
  MPI_Comm_size(comm_, &size_);
}

Result<std::shared_ptr<Attachment>> Attachment::of(MPI_Comm comm) {
  Registry& registry = Registry::instance();
  // All ranks find one or none does: both ends of its life are collective.
  if (auto attachment = registry.find(comm)) return attachment;

  Outcome outcome;
  outcome.attempt("preparing MPI attributes", [&] { return registry.prepare(); });

  MPI_Comm duplicate = MPI_COMM_NULL;
  if (int code = MPI_Comm_dup(comm, &duplicate); code != MPI_SUCCESS) {
    // Without it there is nothing to agree over; MPI reports this on all ranks or aborts.
    return tl::unexpected<Error>(mpi_error(code, "duplicating the communicator for Sublet"));
  }
  outcome.note_mpi(MPI_Comm_set_errhandler(duplicate, MPI_ERRORS_RETURN),
                   "setting MPI_ERRORS_RETURN on Sublet's communicator");
  std::shared_ptr<Attachment> attachment;
  outcome.attempt("attaching Sublet to the communicator",
                  [&] { return registry.attach(comm, duplicate, attachment); });

  if (Result<void> agreed = outcome.agree(duplicate); !agreed) {
    if (outcome.ok()) {
      registry.detach(comm);  // closes the attachment, and with it the duplicate
    } else {
      MPI_Comm_free(&duplicate);
    }
    return tl::unexpected<Error>(std::move(agreed.error()));
  }
  return attachment;
}

std::shared_ptr<Attachment> Attachment::only() {
  return Registry::instance().only();
}

Result<void> Attachment::watch_finalize() {
  return Registry::instance().prepare();
}

void Attachment::add(std::weak_ptr<Attached> member) {
  if (members_.size() >= look_again_) {
    forget_ended();
    look_again_ = 2 * members_.size() + 64;
  }
  members_.push_back(std::move(member));
}

void Attachment::forget_ended() {
  std::erase_if(members_, [](const std::weak_ptr<Attached>& member) {
    const auto attached = member.lock();
    return !attached || attached->has_ended();
  });
}

void Attachment::close() noexcept {
  if (!is_open()) return;
  for (const auto& member : members_) {
    if (const auto attached = member.lock()) attached->communicator_ends();
  }
  MPI_Comm_free(&comm_);
  members_.clear();
}

}  // namespace sublet::mpi

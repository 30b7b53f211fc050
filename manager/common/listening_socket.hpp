#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>
#include <wire/address.hpp>

#include <sys/types.h>

#include <string>
#include <utility>

namespace sublet::manager {

/// Makes `path` with mode 0700, or checks that it is a directory of this user that nobody else may
/// enter. Its parent must exist.
Result<void> make_private_directory(const std::string& path);

/// A bound and listening socket. Removes its file when it goes, unless somebody has replaced it.
///
/// Owner: whoever made it. One thread.
class ListeningSocket {
 public:
  /// unix:PATH: makes the directory (0700) when there is none; replaces the file of a manager that
  /// died without removing it; kInvalid when a living one listens there, with its process id.
  /// `what` names the manager in that text. tcp:HOST:0 takes any free port, tcp:*:PORT every
  /// interface.
  static Result<ListeningSocket> open(const wire::Address& address, const std::string& what);

  ListeningSocket() = default;
  ListeningSocket(ListeningSocket&& other) noexcept { swap(other); }
  ListeningSocket& operator=(ListeningSocket&& other) noexcept {
    ListeningSocket(std::move(other)).swap(*this);
    return *this;
  }
  ListeningSocket(const ListeningSocket&) = delete;
  ListeningSocket& operator=(const ListeningSocket&) = delete;
  ~ListeningSocket();

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// As asked for, with the real port.
  [[nodiscard]] const wire::Address& address() const noexcept { return address_; }
  /// True when it had a file that is not there any more: nobody new finds it.
  [[nodiscard]] bool file_was_removed() const noexcept;

 private:
  static Result<ListeningSocket> open_unix(const wire::Address& address, const std::string& what);
  static Result<ListeningSocket> open_tcp(const wire::Address& address);
  void swap(ListeningSocket& other) noexcept;

  base::Fd fd_;
  wire::Address address_;
  dev_t file_device_ = 0;  ///< Of the socket's file; 0 when it has none.
  ino_t file_inode_ = 0;
};

}  // namespace sublet::manager

#include "control.hpp"

#include "process.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <stdexcept>
#include <system_error>

namespace sublet::conformance {

SharedControl::SharedControl() {
  void* memory =
      ::mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  control_ = new (memory) Control;
  ::sem_init(&control_->gate, 1, 0);
}

SharedControl::~SharedControl() {
  ::munmap(control_, sizeof(Control));
}

void SharedControl::publish(const std::string& address) {
  if (address.size() >= control_->address.size()) throw std::length_error("a long address");
  std::memcpy(control_->address.data(), address.c_str(), address.size() + 1);
  control_->has_address = true;
}

std::string SharedControl::await_address() const {
  if (!await([this] { return control_->has_address.load(); })) {
    throw std::runtime_error("no executor was started");
  }
  return control_->address.data();
}

void SharedControl::open_gate(std::uint32_t calls) noexcept {
  for (std::uint32_t i = 0; i < calls; ++i) ::sem_post(&control_->gate);
}

}  // namespace sublet::conformance

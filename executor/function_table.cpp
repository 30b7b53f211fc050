#include <executor/function_table.hpp>

#include <cstring>

namespace sublet::executor {

FunctionTable::~FunctionTable() {
  for (const FunctionEntry& entry : entries_) delete[] entry.name;
}

Result<void> FunctionTable::add(std::uint16_t index, std::string_view name, void* code,
                                FunctionForm form, std::chrono::milliseconds timeout,
                                const std::fenv_t* floats) {
  if (index >= entries_.size()) {
    return fail(ErrorKind::kInvalid, "function number " + std::to_string(index) + " is too high; " +
                                         std::to_string(entries_.size()) +
                                         " functions fit into a lease");
  }
  FunctionEntry& entry = entries_[index];
  if (entry.code.load(std::memory_order_relaxed) != nullptr) {
    return fail(ErrorKind::kInvalid, "function number " + std::to_string(index) + " is taken by '" +
                                         std::string(entry.name) + "'");
  }
  auto* copy = new char[name.size() + 1];
  std::memcpy(copy, name.data(), name.size());
  copy[name.size()] = '\0';
  entry.name = copy;
  entry.form = form;
  entry.floats = floats;
  entry.timeout_ms = static_cast<std::uint64_t>(timeout.count());
  entry.timeout = base::TickRate::get().from(timeout);
  if (timeout.count() > 0 && (shortest_.count() == 0 || timeout < shortest_)) shortest_ = timeout;
  entry.code.store(code, std::memory_order_release);
  return {};
}

}  // namespace sublet::executor

#include <executor/outcome.hpp>

#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <typeinfo>

namespace sublet::executor {
namespace {

/// printf into the worker's text: nothing here may fail for want of memory.
template <class... Args>
std::string_view say(WorkerState& worker, const char* format, Args... args) {
  auto& text = worker.error_text;
  const int length = std::snprintf(text.data(), text.size(), format, args...);
  if (length < 0) return {};
  return {text.data(), std::min(static_cast<std::size_t>(length), text.size() - 1)};
}

using Name = std::unique_ptr<char, void (*)(void*)>;

/// The readable name of a type; the mangled one when there is no memory left to read it.
const char* type_name(const std::type_info& type, Name& storage) {
  int status = 0;
  storage.reset(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status));
  return storage != nullptr ? storage.get() : type.name();
}

}  // namespace

std::string_view describe_refusal(WorkerState& worker, const transport::Invocation& invocation) {
  return say(
      worker,
      "the request is malformed: its input of %llu or its output of %llu bytes does not lie in "
      "the channel's arena",
      static_cast<unsigned long long>(invocation.in_size),
      static_cast<unsigned long long>(invocation.out_capacity));
}

std::string_view describe_unknown(WorkerState& worker, std::uint16_t index) {
  return say(worker, "the executor has no function with number %u", unsigned{index});
}

std::string_view describe_long_input(WorkerState& worker, const FunctionEntry& function,
                                     std::uint64_t size) {
  return say(worker,
             "function '%s' has the rFaaS form, whose input has at most 4294967295 bytes; "
             "it was given %llu",
             function.name, static_cast<unsigned long long>(size));
}

std::string_view describe_output(WorkerState& worker, const FunctionEntry& function,
                                 std::uint64_t size, std::uint64_t capacity) {
  return say(worker, "function '%s' produced %llu bytes of output; the caller's buffer holds %llu",
             function.name, static_cast<unsigned long long>(size),
             static_cast<unsigned long long>(capacity));
}

std::string_view describe_failure(WorkerState& worker, const FunctionEntry& function,
                                  std::int32_t code) {
  worker.function_text.back() = '\0';
  if (worker.function_text.front() == '\0') {
    return say(worker, "function '%s' failed with code %d", function.name, static_cast<int>(code));
  }
  return say(worker, "function '%s' failed with code %d: %s", function.name, static_cast<int>(code),
             worker.function_text.data());
}

std::string_view describe_exception(WorkerState& worker, const FunctionEntry& function) {
  Name storage(nullptr, &std::free);
  // Exceptions of other languages have no type that this run-time library could read, and none is
  // thrown on: the standard pointer to them is null.
  if (std::current_exception() == nullptr) {
    return say(worker, "function '%s' threw an exception of another language", function.name);
  }
  try {
    throw;
  } catch (const std::bad_alloc& error) {
    const char* type = type_name(typeid(error), storage);
    if (worker.memory_bytes == 0) {
      return say(worker, "function '%s' threw %s: %s", function.name, type, error.what());
    }
    return say(worker, "function '%s' threw %s: %s (the lease's memory limit is %llu MiB)",
               function.name, type, error.what(),
               static_cast<unsigned long long>(worker.memory_bytes >> 20));
  } catch (const std::exception& error) {
    return say(worker, "function '%s' threw %s: %s", function.name,
               type_name(typeid(error), storage), error.what());
  } catch (const char* text) {
    return say(worker, "function '%s' threw a text: %s", function.name, text);
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return say(worker, "function '%s' threw %s", function.name,
               type != nullptr ? type_name(*type, storage) : "something without a type");
  }
}

}  // namespace sublet::executor

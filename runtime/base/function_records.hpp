#pragma once

#include <sublet/function_record.h>
#include <sublet/result.hpp>

#include <cstdint>
#include <string>
#include <string_view>

// The records of an application's functions, as client and executor read them: both run the same
// program and name a function in the same way, whatever its address is.
namespace sublet::base {

/// What names a record in this program: of its mangled name, and of the shared object that has it.
[[nodiscard]] std::uint64_t record_key(const sublet_function_record& record);

/// The function's name for people, cut to what fits the wire, then '#' and its key.
[[nodiscard]] std::string record_name(const sublet_function_record& record);
/// Without the key.
[[nodiscard]] std::string_view name_for_people(std::string_view record_name) noexcept;

/// Null when there is none of that name.
[[nodiscard]] const sublet_function_record* find_record(const sublet_function_record* first,
                                                        std::string_view record_name);

/// kAmbiguous when two functions have the same name, kUnsupported when a record is of another
/// version of the interface.
Result<void> check_records(const sublet_function_record* first);

}  // namespace sublet::base

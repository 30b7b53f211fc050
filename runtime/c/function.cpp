#include <c/error.hpp>
#include <c/handles.hpp>

#include <algorithm>
#include <vector>

namespace {

using namespace sublet::c;
using sublet::BatchItem;
using sublet::Result;

/// SUBLET_SUCCESS when a batch may have these items.
int check(std::span<const sublet_item> items) {
  for (const sublet_item& item : items) {
    if (item.in == nullptr && item.in_size > 0) return null_pointer("in");
    if (item.out == nullptr && item.out_capacity > 0) return null_pointer("out");
    if (item.in_size > kMostBytes) return bad_size("in_size", item.in_size);
    if (item.out_capacity > kMostBytes) return bad_size("out_capacity", item.out_capacity);
  }
  return SUBLET_SUCCESS;
}

/// Runs the items, and tells the number of those that failed and the first one's code.
Result<int> run(sublet::Function& function, std::span<sublet_item> items,
                std::chrono::nanoseconds limit, std::size_t& failures) {
  std::vector<BatchItem> batch;
  batch.reserve(items.size());
  for (const sublet_item& item : items) {
    batch.push_back({item.in, item.in_size, item.out, item.out_capacity, {}});
  }
  auto report = function.batch(batch, limit);
  int first = SUBLET_SUCCESS;
  failures = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const sublet::Reply& reply = batch[i].reply;
    items[i].reply = {code_of(reply.status), reply.worker, reply.size, reply.exec_ns};
    if (reply.ok()) continue;
    ++failures;
    if (first == SUBLET_SUCCESS) first = items[i].reply.code;
  }
  if (!report) return tl::unexpected<sublet::Error>(std::move(report.error()));
  if (first != SUBLET_SUCCESS) failed(first, report->first_error);
  return first;
}

}  // namespace

const sublet::Function& sublet::c::function_of(const sublet_function* function) noexcept {
  return function->function;
}

int sublet_function_open(sublet_lease* lease, const char* path, const char* name,
                         const sublet_options* options, sublet_function** function) {
  if (lease == nullptr) return null_handle("lease");
  if (path == nullptr) return null_pointer("path");
  if (name == nullptr) return null_pointer("name");
  if (function == nullptr) return null_pointer("function");
  return guarded("opening a function", [&]() -> Result<void> {
    auto found = lease->lease.function(
        path, name, options == nullptr ? sublet::FunctionOptions() : options->function);
    if (!found) return tl::unexpected<sublet::Error>(std::move(found.error()));
    *function = new sublet_function{std::move(*found)};
    return {};
  });
}

const char* sublet_function_name(const sublet_function* function) {
  return function == nullptr ? nullptr : function->function.name().c_str();
}

int sublet_function_free(sublet_function** function) {
  return free_handle(function, "function");
}

int sublet_batch(sublet_function* function, sublet_item* items, size_t count, int64_t limit_ns,
                 size_t* failures) {
  if (function == nullptr) return null_handle("function");
  if (items == nullptr && count > 0) return null_pointer("items");
  if (count > kMostBytes / sizeof(sublet_item)) return bad_size("count", count);
  if (limit_ns < -1) return bad_count("limit_ns", limit_ns);
  if (const int code = check({items, count}); code != SUBLET_SUCCESS) return code;
  int code = SUBLET_SUCCESS;
  std::size_t found = 0;
  const int thrown = guarded("running a batch", [&]() -> Result<void> {
    auto ran = run(function->function, {items, count}, limit_from(limit_ns), found);
    if (!ran) return tl::unexpected<sublet::Error>(std::move(ran.error()));
    code = *ran;
    return {};
  });
  if (failures != nullptr) *failures = found;
  return thrown != SUBLET_SUCCESS ? thrown : code;
}

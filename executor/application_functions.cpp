#include <executor/application_functions.hpp>

#include <algorithm>

namespace sublet::executor {
namespace {

/// What the two do not have in common is no matter: what the client preloads, what the executor
/// brings. A program does not start without what it needs.
std::string difference_to(const std::vector<base::SharedObject>& clients) {
  const auto ours = base::loaded_shared_objects();
  for (const base::SharedObject& theirs : clients) {
    const auto here = std::find_if(ours.begin(), ours.end(), [&](const base::SharedObject& object) {
      return object.name() == theirs.name();
    });
    if (here == ours.end() || here->build_id == theirs.build_id) continue;
    const auto id = [](const std::string& text) {
      return text.empty() ? std::string("none") : text.substr(0, 12);
    };
    return "the application's shared object " + theirs.name() +
           " is another one on this node: its build id is " + id(here->build_id) + " (" +
           here->path + ") here and " + id(theirs.build_id) +
           " in the application; install the same one on all nodes";
  }
  return {};
}

}  // namespace

ApplicationFunctions::ApplicationFunctions(const LibraryHash& sha256,
                                           const sublet_function_record* first,
                                           const wire::ApplicationSurroundings& client)
    : sha256_(sha256), first_(first), difference_(difference_to(client.objects)) {}

Result<LoadedFunction> ApplicationFunctions::find(const std::string& record_name) const {
  if (!difference_.empty()) return fail(ErrorKind::kOtherBuild, difference_);
  const auto* record = base::find_record(first_, record_name);
  if (record == nullptr) {
    return fail(ErrorKind::kInvalid,
                "the application has no function '" +
                    std::string(base::name_for_people(record_name)) +
                    "' in its executor: is it in a shared object that the application loads itself "
                    "(dlopen)? link that one instead");
  }
  return LoadedFunction{reinterpret_cast<void*>(record->run), FunctionForm::kTyped, nullptr};
}

}  // namespace sublet::executor
